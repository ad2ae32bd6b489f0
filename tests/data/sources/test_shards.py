"""Shards: the hands of a source, as tar and WebDataset read them, by whatever processes they were made and are read."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import shutil
import subprocess
import tarfile
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from peclr.data.datasets import PairedViewDataset
from peclr.data.loading.pairing import AcrossCameras
from peclr.data.prepare import merging
from peclr.data.prepare.cutting import Cutting
from peclr.data.prepare.merging import merge
from peclr.data.prepare.shard_writer import ShardWriter
from peclr.data.prepare.sharding import shard_source
from peclr.data.samples import HandSource
from peclr.data.sources import shard_format
from peclr.data.sources.dexycb import DexYCB
from peclr.data.sources.freihand import FreiHAND
from peclr.data.sources.image_files import ImageFiles
from peclr.data.sources.images import BadImageError
from peclr.data.sources.selection import cameras_of, groups_of, tracks_of
from peclr.data.sources.shard_format import About
from peclr.data.sources.shards import Shards
from peclr.parallel import Part
from tests.contents import contents
from tests.data.sources.labeled_sets import few_sequences, write_dexycb
from tests.full_disk import full_disk
from tests.json_files import edit_json, set_at

if TYPE_CHECKING:
    from tests.data.conftest import Layout


def key(shards: Shards, index: int) -> str:
    return shards.files.where(index).split(", ")[1].removesuffix(".jpg")


CUTTING = Cutting(size=48, quality=98)


def test_samples_are_those_of_the_source(source: HandSource, tmp_path: Path) -> None:
    shard_source(source, tmp_path / "s", CUTTING, per_task=2)
    shards = Shards(tmp_path / "s")
    assert (len(shards), shards.num_hands) == (len(source), source.num_hands)
    for index in range(len(source)):
        assert shards.hand_of(index) == source.hand_of(index)
        expected, sample = CUTTING(source[index]), shards[index]
        assert shards.encoded(index) == expected.encoded
        assert sample["id"] == source[index]["id"]
        assert sample["hand"] == source[index]["hand"]
        for name in ("crop_box", "K", "joints_3d", "joints_2d", "scale_m"):
            found, wanted = dict(sample)[name], expected.labels.get(name)
            assert (found is None) == (wanted is None)
            if wanted is not None:
                np.testing.assert_allclose(np.array(found), wanted, rtol=1e-6, atol=1e-5)
    for hand in range(source.num_hands):
        assert list(shards.versions_of(hand)) == list(source.versions_of(hand))


def test_tar_and_webdataset_read_them(source: HandSource, tmp_path: Path) -> None:
    shard_source(source, tmp_path / "s", CUTTING, per_task=3)
    shards = Shards(tmp_path / "s")
    index = 0
    for path in sorted((tmp_path / "s" / "shards").iterdir()):
        names = subprocess.run(["tar", "-tf", path], check=True, capture_output=True, text=True).stdout.split()  # noqa: S607
        with tarfile.open(path) as tar:
            assert tar.getnames() == names
            for image, labels in zip(names[::2], names[1::2], strict=True):
                assert (image, labels) == (f"{key(shards, index)}.jpg", f"{key(shards, index)}.json")
                assert tar.extractfile(image).read() == shards.encoded(index)  # type: ignore[union-attr]
                about = json.loads(tar.extractfile(labels).read())  # type: ignore[union-attr]
                sample = shards[index]
                assert (about["id"], about["side"]) == (sample["id"], sample["hand"])
                assert sample["joints_2d"] is not None
                np.testing.assert_array_equal(np.float32(about["joints_2d"]), sample["joints_2d"])
                index += 1
    assert index == len(shards)


def test_parts_and_processes_make_the_same_bytes(layout: Layout, tmp_path: Path) -> None:
    (layout.root / "training/rgb/00000008.jpg").write_bytes(b"")
    source = ImageFiles(layout.root / "training" / "rgb")
    shard_source(source, tmp_path / "one", CUTTING, per_task=5)
    shard_source(source, tmp_path / "two", CUTTING, per_task=5, workers=2)
    for number in (2, 1):
        assert shard_source(source, tmp_path / "parts", CUTTING, per_task=5, part=Part(number, 2)) is None
    assert not (tmp_path / "parts" / "manifest.json").exists()
    shard_source(source, tmp_path / "parts", CUTTING, per_task=5)
    assert contents(tmp_path / "one") == contents(tmp_path / "two") == contents(tmp_path / "parts")
    facts = Shards(tmp_path / "one").facts
    assert [shard.crops for shard in facts.shards] == [5, 4, 5, 3]
    assert "00000008.jpg" in facts.problems[0]
    # again, all is there already
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "one").rglob("*")}
    shard_source(source, tmp_path / "one", CUTTING, per_task=5)
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "one").rglob("*")}


def collected(folder: Path, rng: np.random.Generator, shard_bytes: int = 10**9) -> Shards:
    """Two tasks, of a video with two tracks and of single images."""
    for task in range(2):
        with ShardWriter(folder, task, shard_bytes) as writer:
            for number in range(4):
                image = rng.integers(256, size=(64, 64, 3), dtype=np.uint8)
                joints = rng.uniform(8, 56, (21, 2)).astype(np.float32)
                box = np.array([8.0, 8.0, 56.0, 56.0])
                sample: Any = {"image": image, "crop_box": box, "hand": "right", "id": f"{task}#{number}"}
                sample |= {"K": None, "joints_3d": None, "joints_2d": joints, "scale_m": None}
                of_video = {"frame": number // 2, "time": number // 2 / 30, "track": number % 2} if task == 0 else {}
                writer.add(
                    CUTTING(sample),
                    About(
                        score=0.5 + number / 10,
                        file="a\udcff.mp4" if task == 0 else f"{number}.jpg",
                        video=0 if task == 0 else 1 + number,
                        group=f"person {number % 2}",
                        class_name="fist" if task else "",
                        **of_video,  # type: ignore[arg-type]
                    ),
                )
            writer.counts["images"] += 7
    merge(folder, 2, name="collected hands", labels="pseudo", settings={"every": 1})
    return Shards(folder)


def test_what_was_found_is_kept(tmp_path: Path) -> None:
    shards = collected(tmp_path / "s", np.random.default_rng(0))
    assert (shards.name, shards.labels, shards.facts.counts) == ("collected hands", "pseudo", {"images": 14})
    assert shards.track_of_hands().tolist() == [0, 1, 0, 1, -1, -1, -1, -1]
    np.testing.assert_allclose(shards.time_of_hands(), [0, 0, 1 / 30, 1 / 30, *[np.nan] * 4])
    assert shards.video_of_hands().tolist() == [0, 0, 0, 0, 1, 2, 3, 4]
    assert shards.joints_2d_of_hands() is not None
    assert groups_of(shards) is not None
    assert groups_of(shards).tolist() == [0, 1] * 4  # type: ignore[union-attr]
    assert shards.names_of_hands("group") == ["person 0", "person 1"] * 4
    assert shards.names_of_hands("class") == [""] * 4 + ["fist"] * 4
    score = float(np.float32(0.6))
    of_video = {"frame": 0, "time": 0.0, "track": 1, "video": 0}
    assert shards.about(1) == About(score=score, file="a\udcff.mp4", hand=1, group="person 1", **of_video)  # type: ignore[arg-type]
    assert shards[0]["K"] is None


def test_what_was_found_is_kept_in_copies(tmp_path: Path) -> None:
    """Also tracks that tasks divide."""
    shards = collected(tmp_path / "s", np.random.default_rng(0))
    shard_source(shards, tmp_path / "copy", per_task=3)
    copy = Shards(tmp_path / "copy")
    assert [repr(copy.about(index)) for index in range(8)] == [repr(shards.about(index)) for index in range(8)]
    assert (copy.name, copy.labels) == ("collected hands", "pseudo")
    assert copy.track_of_hands().tolist() == [0, 1, 0, 1, -1, -1, -1, -1]


def test_groups_classes_and_whose_labels_they_are_come_along(layout: Layout, tmp_path: Path) -> None:
    (layout.root / "training_group.json").write_text('["b", "a", "b", "c", "a", "b"]')
    (layout.root / "training_class.json").write_text('["1", "2", "3", "1", "2", "3"]')
    (layout.root / "collected.json").write_text('{"labels": "pseudo", "teacher": "someone"}')
    source = FreiHAND(layout.root)
    shard_source(source, tmp_path / "s", CUTTING, per_task=4)
    shards = Shards(tmp_path / "s")
    assert shards.labels == "pseudo"
    for kind in ("group", "class"):
        assert shards.names_of_hands(kind) == source.names_of_hands(kind)


def test_shards_are_ended_when_they_are_full(tmp_path: Path) -> None:
    shards = collected(tmp_path / "s", np.random.default_rng(0), shard_bytes=10_000)
    assert len(shards.facts.shards) > 3
    assert [key(shards, index) for index in range(8)] == [
        f"00000{task}-00000{n}" for task in range(2) for n in range(4)
    ]
    for index in range(8):
        assert shards[index]["id"] == f"{index // 4}#{index % 4}"
    whole = collected(tmp_path / "whole", np.random.default_rng(0))
    assert [shards.encoded(index) for index in range(8)] == [whole.encoded(index) for index in range(8)]


def test_a_full_disk_is_named_and_left_as_it_was(tmp_path: Path) -> None:
    crop = CUTTING(ImageFiles(_images(tmp_path / "in", 1))[0])
    with (  # noqa: PT012 (both the writing and the end may say it)
        full_disk(20_000),
        pytest.raises(OSError, match=r"File too large: .*000000-00\.tar"),
        ShardWriter(tmp_path / "s", 0) as writer,
    ):
        for _ in range(100):
            writer.add(crop, About())
    assert not list((tmp_path / "s" / "shards").iterdir())


def test_two_writers_of_one_task_leave_each_other_alone(tmp_path: Path) -> None:
    source = ImageFiles(_images(tmp_path / "in", 1))
    crop = CUTTING(source[0])
    (tmp_path / "s" / "shards").mkdir(parents=True)
    (tmp_path / "s" / "shards" / ".000000-00.tar.0123abcd").write_bytes(b"of a writer that was killed")
    with ShardWriter(tmp_path / "s", 0) as first:
        first.add(crop, About())
        with ShardWriter(tmp_path / "s", 0) as second:
            second.add(crop, About())
    assert [path.name for path in (tmp_path / "s" / "shards").iterdir()] == ["000000-00.tar"]
    merge(tmp_path / "s", 1, name="two", labels="none", settings={})
    assert Shards(tmp_path / "s").encoded(0) == crop.encoded


def test_problems_of_files_whose_names_are_no_text_are_kept(tmp_path: Path) -> None:
    source = ImageFiles(_images(tmp_path / "in", 1))
    with ShardWriter(tmp_path / "s", 0) as writer:
        writer.add(CUTTING(source[0]), About(file="a\udcff.jpg"))
        writer.problems.append("b\udcfe\n.jpg: no image")
    merge(tmp_path / "s", 1, name="two", labels="none", settings={})
    assert Shards(tmp_path / "s").facts.problems == [r"b\udcfe\n.jpg: no image"]
    assert Shards(tmp_path / "s").about(0).file == "a\udcff.jpg"


def _images(root: Path, count: int) -> Path:
    root.mkdir()
    for number in range(count):
        Image.new("RGB", (60, 40)).save(root / f"{number}.png")
    return root


def test_an_error_leaves_nothing_of_a_task(tmp_path: Path) -> None:
    shards = collected(tmp_path / "s", np.random.default_rng(0))
    crop, about = CUTTING(shards[0]), About()

    def interrupted() -> None:
        with ShardWriter(tmp_path / "t", 0) as writer:
            writer.add(crop, about)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert contents(tmp_path / "t") == {}


def test_shards_of_a_writer_that_was_killed_do_not_stay_where_less_can_be_read_now(tmp_path: Path) -> None:
    source = ImageFiles(_images(tmp_path / "in", 2))
    for count in (2, 1):
        with ShardWriter(tmp_path / "s", 0, shard_bytes=1) as writer:
            for number in range(count):
                writer.add(CUTTING(source[number]), About())
        if count == 2:  # killed before it said so
            (tmp_path / "s" / "tasks" / "000000.npz").unlink()
    merge(tmp_path / "s", 1, name="one", labels="none", settings={})
    assert [path.name for path in (tmp_path / "s" / "shards").iterdir()] == ["000000-00.tar"]


def test_a_broken_shard_costs_its_own_crops(tmp_path: Path) -> None:
    collected(tmp_path / "s", np.random.default_rng(0))
    for damage in ("cut", "changed", "gone", "pipe"):
        folder = tmp_path / damage
        shutil.copytree(tmp_path / "s", folder)
        path = folder / "shards" / "000001-00.tar"
        raw = bytearray(path.read_bytes())
        if damage == "cut":
            path.write_bytes(raw[:700])
        elif damage == "gone":
            path.unlink()
        elif damage == "pipe":  # from which reading would wait for ever
            path.unlink()
            os.mkfifo(path)
        else:
            raw[600] ^= 1  # in the JPEG of its first crop
            path.write_bytes(raw)
        shards = Shards(folder)
        assert shards[3]["id"] == "0#3"
        with pytest.raises(
            BadImageError, match=r"000001-00\.tar, 000001-000000\.jpg: .*(expected a shard|No such file|Illegal seek)"
        ):
            shards[4]
        views = PairedViewDataset([shards], view_size=16, on_bad_image="skip")
        assert views[4]["index"] == (5 if damage == "changed" else 0)
        if damage == "changed":
            shards.check_images()  # only as much as an epoch costs would find that
        else:
            with pytest.raises(ValueError, match=r"000001-00\.tar (has 700 bytes, expected [\d,]+|is missing)"):
                shards.check_images()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_read_what_the_process_reads(tmp_path: Path, method: str) -> None:
    shards = collected(tmp_path / "s", np.random.default_rng(0))
    expected = [shards.stored(index)[0] for index in range(8)]
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert [encoded for encoded, _ in pool.map(shards.stored, range(8), chunksize=1)] == expected
    assert len(pickle.dumps(shards)) < 1000


def test_few_files_stay_open(tmp_path: Path, layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peclr.data.sources.shard_files._MOST_OPEN", 3)
    shard_source(FreiHAND(layout.root), tmp_path / "s", CUTTING, per_task=1)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    shards = Shards(tmp_path / "s")
    mapped = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    assert len([shards[index] for index in range(len(shards))]) == 18
    assert len(os.listdir("/proc/self/fd")) == mapped + 3  # noqa: PTH208
    del shards
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_of_several_merges_one_does_the_work(tmp_path: Path, layout: Layout) -> None:
    source, folder = FreiHAND(layout.root), tmp_path / "s"
    shard_source(source, tmp_path / "one", CUTTING, per_task=3)
    for number in (1, 2):
        shard_source(source, folder, CUTTING, per_task=3, part=Part(number, 2))
    with multiprocessing.get_context("fork").Pool(3) as pool:
        done = [pool.apply_async(shard_source, (source, folder, CUTTING), {"per_task": 3}) for _ in range(3)]
        assert [facts.get(60) == Shards(tmp_path / "one").facts for facts in done] == [True] * 3
    assert contents(folder) == contents(tmp_path / "one")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder: (folder / "tasks/000001.npz").unlink(), "1 of 2 tasks are not done: 1"),
        (lambda folder: (folder / "shards/000001-00.tar").unlink(), r"000001-00\.tar is missing"),
        (lambda folder: (folder / "shards/000002-00.tar").touch(), r"000002-00\.tar belong to no task"),
        (
            lambda folder: (folder / "shards/000000-00.tar").write_bytes(b"0" * 20480),
            "has SHA-256|has 20,480 bytes, expected",
        ),
        (
            lambda folder: shutil.copy(folder / "tasks/000000.npz", folder / "tasks/000001.npz"),
            "is of task 0; expected 1",
        ),
    ],
)
def test_a_merge_refuses_what_is_not_whole(tmp_path: Path, damage: Any, reason: str, layout: Layout) -> None:
    source = FreiHAND(layout.root)
    folder = tmp_path / "s"
    for number in (1, 2):
        shard_source(source, folder, CUTTING, per_task=9, part=Part(number, 2))
    damage(folder)
    with pytest.raises(ValueError, match=reason):
        merge(folder, 2, name="x", labels="true", settings={})
    assert not (folder / "manifest.json").exists()


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("offset", -1, "offset and length of crop 7"),
        ("length", 10**9, "offset and length of crop 7"),
        ("length", 2**40, "offset and length of crop 7"),  # of a shard that is said to be as large
        ("side", 3, "side of crop 7"),
        ("group", 2, "group of crop 7"),
        ("file", -1, "file of crop 7"),
        ("track", -2, "track of crop 7"),
        ("video", -2, "video of crop 7"),
        ("time", np.inf, "time of crop 7"),
        ("track", 0, "time of crop 7"),  # of a track, and not known
        ("crop_box", None, "crop_box is nothing, expected float64"),
        ("id_ends", None, "id_ends is missing"),
        ("id_ends", 5, "do not fit"),
    ],
)
def test_labels_that_are_not_possible_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: float | None, reason: str
) -> None:
    monkeypatch.setattr(shard_format, "_BLOCK", 3)
    collected(tmp_path, np.random.default_rng(0))
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    if value is None:
        del manifest["arrays"][name]
    else:
        array = np.load(tmp_path / f"{name}.npy")
        array[-1] = value
        np.save(tmp_path / f"{name}.npy", array)
        manifest["arrays"][name] = None
        if value == 2**40:
            manifest["facts"]["shards"][-1]["bytes"] = 2**50
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=reason):
        Shards(tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("crop_box", np.nan, r"crop_box \[nan, .* is not possible"),
        ("crop_box", 5, "crop_box .* is not possible"),  # of no size
        ("image_from_crop", np.nan, "image_from_crop .* is not possible"),
        ("image_from_crop", 1, "image_from_crop .* is not possible"),  # of no rows
        ("K", np.inf, "K is not possible"),
        ("joints_3d", np.inf, "joints_3d is not possible"),
        ("joints_2d", -np.inf, "joints_2d is not possible"),
        ("scale_m", 0, "scale_m 0.0 is not possible"),
    ],
)
def test_a_crop_with_an_impossible_label_is_refused(
    tmp_path: Path, name: str, value: float, reason: str, layout: Layout
) -> None:
    shard_source(FreiHAND(layout.root), tmp_path / "s", CUTTING)
    array = np.load(tmp_path / "s" / f"{name}.npy")
    array[1] = value
    np.save(tmp_path / "s" / f"{name}.npy", array)
    edit_json(tmp_path / "s" / "manifest.json", set_at(None, "arrays", name))
    shards = Shards(tmp_path / "s")
    assert shards[0]["id"]
    with pytest.raises(ValueError, match=rf"000000-00\.tar, 000000-000001\.jpg: {reason}"):
        shards[1]


@pytest.mark.parametrize("unknown", [True, False])
def test_a_merge_takes_little_memory_where_every_crop_is_a_hand(*, unknown: bool) -> None:
    """Of its arrays, for each crop; experiments/scale.md counts on it."""
    survey, crops, size = merging._Survey(), 200_000, 8192
    tracemalloc.start()
    for start in range(0, crops, size):
        numbers = np.arange(start, min(start + size, crops))
        survey.crops += len(numbers)
        survey._hands.append(np.full(len(numbers), -1) if unknown else 3 * numbers)
        survey._seen.append(-numbers)
    assert survey.hands() is None
    assert survey.twice() == 0
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 36 * crops


def test_hands_are_numbered_without_gaps_and_crops_that_came_twice_counted() -> None:
    survey = merging._Survey()
    survey.crops, survey._seen = 5, [np.array([7, 9, 7]), np.array([7, 1])]
    survey._hands = [np.array([4, -1, 4]), np.array([-1, 8])]
    hands = survey.hands()
    assert hands is not None
    assert hands.tolist() == [0, 2, 0, 3, 1]
    assert survey.twice() == 2


def test_a_merge_writes_through_no_link(tmp_path: Path, layout: Layout) -> None:
    shard_source(FreiHAND(layout.root), tmp_path / "s", CUTTING, part=Part(1, 1))
    (tmp_path / "other").write_text("of somebody else")
    for name in ("side.npy", "group.npy", "group_text.npy"):
        (tmp_path / "s" / name).symlink_to(tmp_path / "other")
    shard_source(FreiHAND(layout.root), tmp_path / "s", CUTTING)
    assert (tmp_path / "other").read_text() == "of somebody else"
    assert not any(path.is_symlink() for path in (tmp_path / "s").iterdir())


def test_a_manifest_cannot_lead_out_of_its_folder(tmp_path: Path) -> None:
    collected(tmp_path, np.random.default_rng(0))
    text = (tmp_path / "manifest.json").read_text()
    (tmp_path / "manifest.json").write_text(text.replace("000000-00.tar", "../../x.tar"))
    with pytest.raises(ValueError, match=r"manifest\.json, facts: .*regex"):
        Shards(tmp_path)


def test_tracks_and_cameras_of_a_data_set_come_along(tmp_path: Path) -> None:
    write_dexycb(tmp_path / "dexycb", subjects=1)
    with few_sequences():
        source = DexYCB(tmp_path / "dexycb", "s1_train")
        shard_source(source, tmp_path / "shards", Cutting(24), per_task=20)
    shard_source(Shards(tmp_path / "shards"), tmp_path / "copy", per_task=30)
    for folder in ("shards", "copy"):
        shards = Shards(tmp_path / folder)
        for of_shards, of_source in ((tracks_of(shards), tracks_of(source)), (cameras_of(shards), cameras_of(source))):
            assert of_shards is not None
            assert of_source is not None
            for ours, theirs in zip(of_shards, of_source, strict=True):
                np.testing.assert_array_equal(ours, theirs)
    assert cameras_of(Shards(collected(tmp_path / "s", np.random.default_rng(0)).root)) is None
    first, second = AcrossCameras().within(Shards(tmp_path / "copy")).draw(9, np.random.default_rng(0))
    assert [source[image]["id"].split("/")[2] for image in (first, second)] == ["20200709_141700"] * 2


def test_tasks_of_a_version_that_knew_less_of_crops_are_merged(layout: Layout, tmp_path: Path) -> None:
    shard_source(FreiHAND(layout.root), tmp_path / "s", CUTTING, per_task=9, part=Part(1, 1))
    for index in (tmp_path / "s" / "tasks").glob("*.npz"):
        with np.load(index) as arrays:
            known = {name: array for name, array in arrays.items() if name not in ("moment", "camera")}
        np.savez(index, allow_pickle=False, **known)
    shard_source(FreiHAND(layout.root), tmp_path / "s", CUTTING, per_task=9)
    assert len(Shards(tmp_path / "s")) == len(FreiHAND(layout.root))
