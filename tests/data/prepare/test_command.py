from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import peclr.data.sources.youtube3d_labels
from peclr.data.prepare.command import pack_labels, prepare_main
from peclr.data.prepare.cutting import DEFAULT_CONTEXT
from peclr.data.sources.freihand import FreiHAND
from peclr.data.sources.packed_labels import PackedArrays
from peclr.data.sources.shards import PreparedCrops, Shards
from peclr.data.sources.youtube3d import YouTube3DHands

if TYPE_CHECKING:
    from tests.data.conftest import Layout, YouTube


def run(*arguments: object) -> int:
    return prepare_main([str(argument) for argument in arguments])


def test_freihand_is_packed_and_read_from_there(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    expected = [FreiHAND(layout.root)[index] for index in range(18)]
    assert run("freihand", layout.root) == 0
    shown = capsys.readouterr().out
    assert "6 hands, 18 images" in shown
    assert "2 hands, 2 images" in shown
    for file in ("K", "xyz", "scale"):  # as long and as old, but not readable: so they are not read
        path = layout.root / f"training_{file}.json"
        status = path.stat()
        path.write_bytes(bytes(status.st_size))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    hands = FreiHAND(layout.root)
    for index, sample in enumerate(expected):
        for key, value in sample.items():
            np.testing.assert_array_equal(hands[index][key], value)  # type: ignore[literal-required]


def test_freihand_without_evaluation_joints_is_packed_and_stale_once_they_are_there(layout: Layout) -> None:
    joints = layout.root / "evaluation_xyz.json"
    text = joints.read_text()
    joints.unlink()
    assert run("freihand", layout.root, "--split", "evaluation") == 0
    assert FreiHAND(layout.root, "evaluation")[0]["joints_3d"] is None
    joints.write_text(text)
    with pytest.warns(UserWarning, match=r"evaluation_xyz\.json"):
        assert FreiHAND(layout.root, "evaluation")[0]["joints_3d"] is not None


def test_youtube3d_is_packed_and_described(youtube: YouTube, capsys: pytest.CaptureFixture[str]) -> None:
    def change(labels: dict[str, Any]) -> None:
        labels["annotations"][1].update(id=100)
        fused = "youtube/5zNg5kRgLlc5kzqX4KHfT4/video/frames/{}.png"
        labels["images"] += [{"name": fused.format(n), "width": 1, "height": 1, "id": 90 + n} for n in (1, 2)]

    youtube.edit(change)
    assert run("youtube3d", youtube.root) == 0
    shown = capsys.readouterr().out
    assert "YouTube3DHands train: 4 hands" in shown
    assert "1 annotations share their id" in shown
    assert "1 of 5 hands have no frame" in shown
    assert shown.index("5zNg5kRgLlc5kzqX4KHfT4: 2 (two ids fused into one)") < shown.index("filmB: 1")
    packed = PackedArrays(youtube.root / "prepared" / "youtube3d_train")
    np.testing.assert_allclose(packed["vertices"], youtube.vertices, rtol=1e-6)


def test_wrong_labels_leave_the_packed_ones_as_they_were(youtube: YouTube, layout: Layout) -> None:
    assert run("youtube3d", youtube.root) == 0
    assert run("freihand", layout.root) == 0
    before = sorted(youtube.root.rglob("*")), sorted(layout.root.rglob("*"))
    youtube.edit(lambda labels: labels["annotations"][4].update(image_id=99))
    layout.edit("training_K.json", lambda K: K.pop())
    with pytest.raises(ValueError, match=r"youtube_train\.json: annotation 4 is of image 99"):
        run("youtube3d", youtube.root)
    with pytest.raises(ValueError, match=r"training_K\.json has 5"):
        run("freihand", layout.root)
    assert (sorted(youtube.root.rglob("*")), sorted(layout.root.rglob("*"))) == before


def test_labels_that_change_meanwhile_are_refused(youtube: YouTube, monkeypatch: pytest.MonkeyPatch) -> None:
    read = peclr.data.sources.youtube3d_labels.read_labels

    def read_and_change(*arguments: Any, **options: Any) -> object:
        arrays = read(*arguments, **options)
        youtube.labels.write_text("{}")
        return arrays

    monkeypatch.setattr(peclr.data.sources.youtube3d_labels, "read_labels", read_and_change)
    with pytest.raises(ValueError, match=r"youtube_train\.json changed while it was read"):
        pack_labels("youtube3d", youtube.root, "train")
    assert not (youtube.root / "prepared").exists()


def test_images_that_cannot_be_read_are_listed(
    youtube: YouTube, layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    (youtube.root / "youtube/filmA/video/frames/2.jpg").write_bytes(b"")
    (youtube.root / "youtube/filmA/video/frames/3.png").write_bytes(b"")  # shows no hand
    (layout.root / "training/rgb/00000007.jpg").write_text("<html>")
    assert run("youtube3d", youtube.root) == 1
    assert run("freihand", layout.root) == 1
    shown = capsys.readouterr().out
    assert "frames/2.jpg is empty" in shown
    assert "3.png" not in shown
    assert "00000007.jpg is not an image (6 bytes)" in shown
    assert run("freihand", layout.root, "--images", "present") == 0
    assert len(YouTube3DHands(youtube.root)) == 4  # labels are packed all the same


def test_crops_are_written_for_each_split(layout: Layout, youtube: YouTube, tmp_path: Path, regressor: Path) -> None:
    out = tmp_path / "crops"
    assert run("freihand", layout.root, "--crops", out, "--size", 32, "--workers", 1) == 0
    assert [len(PreparedCrops(out, split)) for split in ("training", "evaluation")] == [18, 2]
    left, _, right, _ = PreparedCrops(out, "training")[0]["crop_box"]
    assert right - left == pytest.approx(32 / DEFAULT_CONTEXT, rel=0.01)  # of whole pixels of the image
    (youtube.root / "youtube/filmA/video/frames/1.png").write_bytes(b"")
    assert run("youtube3d", youtube.root, "--crops", out, "--mano", regressor, "--context", 1, "--workers", 1) == 1
    sample = PreparedCrops(out, "train")[0]
    assert np.isfinite(sample["joints_2d"]).all()  # type: ignore[arg-type]
    left, _, right, _ = sample["crop_box"]
    assert right - left == pytest.approx(256, rel=0.02)


def test_crops_are_written_in_parts_of_whatever_is_there(
    layout: Layout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, options = tmp_path / "crops", ("--size", 32, "--workers", 1)
    images = layout.root / "training" / "rgb"
    for part in ("2/2", "1/2"):
        assert run("any", images, "--shards", out, *options, "--part", part) == 0
        assert f"part {part[0]} of 2" in capsys.readouterr().out
        assert not (out / "manifest.json").exists()
    assert run("any", images, "--shards", out, *options) == 0
    assert "18 crops are in" in capsys.readouterr().out
    assert len(Shards(out)) == 18
    assert run("any", out, "--shards", tmp_path / "copy", *options) == 0
    assert Shards(tmp_path / "copy").stored(3)[0] == Shards(out).stored(3)[0]


def test_mistakes_of_crops_are_named_before_anything_is_done(layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "crops" / "training").mkdir(parents=True)
    images = layout.root / "training" / "rgb"
    (tmp_path / "crops" / "training" / "mine.txt").touch()
    with pytest.raises(FileExistsError, match="crops/training is neither empty"):
        run("freihand", layout.root, "--shards", tmp_path / "crops")
    for wrong, reason in (
        (("freihand", layout.root, "--part", "1/2"), "--part and --scheduler divide the work of --shards"),
        (("any", layout.root), "any needs --shards OUT"),
        (("any", layout.root, "--shards", tmp_path / "c", "--quality", 101), "--quality 101"),
        (("any", images, "--shards", images / "crops"), "rgb/crops is in .*rgb, which would be taken for its crops"),
    ):
        with pytest.raises(ValueError, match=reason):
            run(*wrong)
    assert not (layout.root / "prepared").exists()


def test_mistakes_are_named(layout: Layout, youtube: YouTube) -> None:
    with pytest.raises(ValueError, match=r"does not hold youtube3d; expected youtube_train\.json"):
        run("youtube3d", layout.root)
    with pytest.raises(ValueError, match="split 'training' does not exist"):
        run("youtube3d", youtube.root, "--split", "training")
    with pytest.raises(ValueError, match=r"youtube_val\.json is missing"):
        run("youtube3d", youtube.root, "--split", "val")
    with pytest.raises(ValueError, match="--size: 0 is not positive"):
        run("freihand", layout.root, "--size", 0)


def test_help_says_the_context_of_crops(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("--help")
    assert f"default: {DEFAULT_CONTEXT}," in " ".join(capsys.readouterr().out.split())


def test_manifests_say_what_was_packed(youtube: YouTube) -> None:
    run("youtube3d", youtube.root)
    manifest = json.loads((youtube.root / "prepared/youtube3d_train/manifest.json").read_text())
    assert manifest["kind"] == "youtube3d_train"
    assert manifest["sources"].keys() == {"youtube_train.json"}
    assert manifest["sources"]["youtube_train.json"]["bytes"] == youtube.labels.stat().st_size
