"""Sets of 2-D hands in their layouts: sides, unknown joints, boxes, images that are not there, faults of files."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import cv2
import numpy as np
import pytest
import torch

from peclr.data.datamodules import PairedViewDataModule
from peclr.data.labeled import LabeledHandDataModule
from peclr.data.prepare.command import prepare_main
from peclr.data.prepare.doctor import doctor_main
from peclr.data.sources import open_source
from peclr.data.sources.coco_hands import CocoHands
from peclr.data.sources.coco_hands_labels import DataSet2D
from peclr.data.sources.images import BadImageError
from peclr.data.sources.rhd import RHD
from peclr.data.sources.selection import split_source
from peclr.data.sources.some_hands import listed
from peclr.data.views.geometric import GeometryRange
from tests.data.sources.labeled_sets import write_rhd
from tests.data.sources.same_hands import assert_same_hands
from tests.data.sources.sets_2d import HEIGHT, SPLITS, TRAIN, WIDTH, draw, hands_in_images, write_2d
from tests.json_files import edit_json

if TYPE_CHECKING:
    from peclr.data.samples import HandSource

SETS = get_args(DataSet2D)
SAMPLES = Path(os.environ.get("PECLR_PHOTOGRAPHS", "")) / "official_samples"


def number_of(image: str) -> int:
    """Which image it is, by its name: 000000000001.jpg, b_01_l.jpg."""
    stem = Path(image).stem
    return int(stem) if stem.isdecimal() else ord(stem[0]) - ord("a")


@pytest.mark.parametrize("dataset", SETS)
def test_joints_are_where_the_image_shows_them_and_left_hands_are_mirrored(dataset: DataSet2D, tmp_path: Path) -> None:
    joints = write_2d(tmp_path, dataset)
    source: Any = open_source(tmp_path)
    assert (type(source), source.name) == (CocoHands, dataset)
    sides = [source[hand]["hand"] for hand in range(len(source))]
    if dataset == "onehand10k":
        assert sides == ["unknown"] * 3
    else:
        assert sides == ["left", "right"] * 3 + ["unknown"] * (dataset == "panoptic")
    as_right = source.joints_2d_of_hands()
    for hand, side in enumerate(sides):
        sample = source[hand]
        left, right = joints[number_of(source.image_name(hand)) if side != "unknown" or dataset == "onehand10k" else -1]
        expected = {"left": left * [-1, 1] + [WIDTH - 1, 0], "right": right, "unknown": right}
        known = slice(1, None) if dataset == "onehand10k" else slice(None)
        np.testing.assert_allclose(sample["joints_2d"][known], expected[side][known])
        assert np.isnan(sample["joints_2d"]).all(axis=1).sum() == (dataset == "onehand10k")
        np.testing.assert_array_equal(as_right[hand], sample["joints_2d"])
        assert sample["id"].startswith("train/")
        assert sample["id"].endswith(f" {side} in {source.image_name(hand)}")
        x, y = np.round(expected[side][known]).astype(int).T
        assert sample["image"][y, x].mean() > 150
        assert (sample["K"], sample["joints_3d"], sample["scale_m"]) == (None, None, None)
        low, high = np.nanmin(expected[side], axis=0), np.nanmax(expected[side], axis=0)
        margin = 2 if dataset == "hint" else 0
        half = 1.25 * ((high - low).max() / 2 + margin)
        np.testing.assert_allclose(sample["crop_box"], [*((low + high) / 2 - half), *((low + high) / 2 + half)])
    assert len({source[hand]["id"] for hand in range(len(source))}) == len(source)
    with pytest.raises(IndexError, match="not 9"):
        source[9]


@pytest.mark.parametrize("dataset", SETS)
def test_packed_labels_are_the_same_and_doctor_knows_them(
    dataset: DataSet2D, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_2d(tmp_path, dataset)
    write_2d(tmp_path, dataset, SPLITS[dataset], images=2)
    assert prepare_main([dataset, str(tmp_path)]) == 0
    packed, read = (open_source(tmp_path, use_prepared=use) for use in (True, False))
    assert_same_hands(packed, read)
    assert len(pickle.dumps(packed)) < 3000  # workers map the labels
    assert len(open_source(tmp_path, SPLITS[dataset])) == 2 * (1 if dataset == "onehand10k" else 2)
    assert doctor_main([str(tmp_path), "--workers", "1"]) == 0
    said = capsys.readouterr().out
    assert said.count("packed, fresh") == 2
    assert f"CocoHands {dataset}, train: " in said
    assert ("unknown side" in said) == (dataset in ("onehand10k", "panoptic"))


def test_hands_of_one_frame_are_never_divided(tmp_path: Path) -> None:
    write_2d(tmp_path, "hint")
    source = CocoHands(tmp_path, dataset="hint")
    training, held_out = map(listed, split_source(source, 0.34, 0))
    assert len(held_out) == 2
    assert not {*source.group_of_hands()[training]} & {*source.group_of_hands()[held_out]}


def test_hint_says_which_joints_are_hidden_and_its_boxes_are_its_own(tmp_path: Path) -> None:
    joints = write_2d(tmp_path, "hint", "test")
    source = CocoHands(tmp_path, "test", "hint")
    assert source.occluded is not None
    assert source.occluded.sum(axis=1).tolist() == [7] * 6
    corners = np.concatenate([joints[0, 0].min(axis=0) - 2, joints[0, 0].max(axis=0) + 2])
    first = [source.image_name(hand) for hand in range(6)].index("TEST_newdays_img/a_l.jpg")
    np.testing.assert_allclose(source.boxes[first], corners)


def test_boxes_of_other_hands_are_refused(tmp_path: Path) -> None:
    write_2d(tmp_path, "hint")
    for path in tmp_path.rglob("*.json"):
        (hand,) = json.loads(path.read_text())
        left, top, right, bottom = hand["bbox"][0]
        path.write_text(json.dumps([hand | {"bbox": [[left + 60, top, right + 60, bottom]]}]))
    with pytest.raises(ValueError, match=r"6 of 6 hands, hand 0 has \d+% of its joints in its box \[.*expected most"):
        CocoHands(tmp_path, dataset="hint")


def test_hands_without_an_image_are_left_out_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """As of Ego4D's frames, which HInt may not distribute."""
    write_2d(tmp_path, "hint")
    for image in (tmp_path / "TRAIN_ego4d_img").glob("*.jpg"):
        image.unlink()
    source = CocoHands(tmp_path, dataset="hint")
    assert source.num_hands == 4
    assert doctor_main([str(tmp_path), "--workers", "1"]) == 0
    assert "2 of 6 hands have no image, and are left out" in capsys.readouterr().out
    source.check_images()
    assert "2 of 6 hands have no image" in caplog.text
    for image in tmp_path.rglob("*.jpg"):
        image.unlink()
    with pytest.raises(ValueError, match=r"_[lr]\.jpg is missing, and all other images of train"):
        CocoHands(tmp_path, dataset="hint")


def test_boxes_without_a_size_are_left_out_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_2d(tmp_path, "coco_wholebody")
    edit_json(tmp_path / TRAIN["coco_wholebody"], lambda c: c["annotations"][2].update(righthand_box=[50, 60, 0, 0]))
    source = CocoHands(tmp_path)
    assert source.num_hands == 5
    assert "1 of 5 hands more have a box without a size" in source.doubts()[0]
    expected = "annotation 2: the right hand is left out: its box is [49.5, 59.5, 49.5, 59.5]"
    assert expected in caplog.text
    edit_json(tmp_path / TRAIN["coco_wholebody"], lambda c: c.update(annotations=c["annotations"][2:3]))
    edit_json(tmp_path / TRAIN["coco_wholebody"], lambda c: c["annotations"][0].update(lefthand_valid=False))
    with pytest.raises(ValueError, match=r"train_v1\.0\.json: no hand is labeled; 1 have no box"):
        CocoHands(tmp_path)


@pytest.mark.parametrize(
    ("dataset", "change", "reason"),
    [
        ("coco_wholebody", {"lefthand_kpts": [1.0] * 60}, r"annotation 0: .*length >= 63 .*lefthand_kpts"),
        ("coco_wholebody", {"lefthand_kpts": [1e7] * 63}, r"annotation 0: a joint is \[10000000\.0, .*expected px"),
        ("coco_wholebody", {"lefthand_box": [0, 1, 2]}, r"annotation 0: .*lefthand_box"),
        ("coco_wholebody", {"lefthand_box": [0, 1, 2, -1e9]}, r"annotation 0: the box is \[0\.0, 1\.0, 2\.0, -100000"),
        ("coco_wholebody", {"image_id": 5}, r"annotation 0 is of image 5, which is not listed"),
        ("halpe", {"keypoints": [0.0] * 399}, r"annotation 0: keypoints are 399 numbers; expected 408"),
        ("onehand10k", {"keypoints": "none"}, r"annotation 0: .*Expected `array`"),
        ("onehand10k", {"keypoints": [float("nan")] * 63}, r"onehand10k_train\.json: .*\(byte \d+\), in .*NaN"),
        ("panoptic", {"hand_pts": [[1.0, 2.0, 1.0]] * 20}, r"a_01_l\.json: .*length >= 21"),
        ("panoptic", {"hand_pts": [[float("nan"), 2.0, 1.0]] * 21}, r"a_01_l\.json: a joint is \[nan, 2\.0, 1\.0\]"),
        ("hint", {"bbox": []}, r"a_l\.json: .*bbox"),
        ("hint", {"bbox": [[0, 0, float("inf"), 1]]}, r"a_l\.json: the box is \[0\.0, 0\.0, inf, 1\.0\]"),
        ("hint", {"keypoints": [[0.0, 2.0]] * 3}, r"a_l\.json: .*keypoints"),
    ],
)
def test_labels_that_are_wrong_are_named_with_file_and_value(
    dataset: DataSet2D, change: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    write_2d(tmp_path, dataset)

    def change_first(content: Any) -> None:
        if isinstance(content, list):
            content[0].update(change)
        else:
            content.get("annotations", [content])[0].update(change)

    edit_json(tmp_path / TRAIN[dataset], change_first)
    with pytest.raises(ValueError, match=reason):
        CocoHands(tmp_path, dataset=dataset)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    write_2d(tmp_path / "a", "coco_wholebody")
    with pytest.raises(ValueError, match=r"coco_wholebody_val_v1\.0\.json is missing; .* and images in val2017"):
        CocoHands(tmp_path / "a", "val")
    with pytest.raises(ValueError, match=r"TRAIN_\*_\*/\*\.json is missing; .* is expected to hold TRAIN_newdays_img"):
        CocoHands(tmp_path / "a", dataset="hint")
    with pytest.raises(ValueError, match="dataset 'coco'"):
        CocoHands(tmp_path / "a", dataset="coco")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="split 'test' does not exist"):
        CocoHands(tmp_path / "a", "test")
    labels = tmp_path / "a" / TRAIN["coco_wholebody"]
    edit_json(labels, lambda c: c["images"][0].update(file_name="../../a.jpg"))
    with pytest.raises(ValueError, match=r"its labels name '\.\./\.\./a\.jpg', which is not below it"):
        CocoHands(tmp_path / "a")
    edit_json(labels, lambda c: c["images"][1].update(id=c["images"][0]["id"]))
    with pytest.raises(ValueError, match=r"image id 7 is both \.\./\.\./a\.jpg and 000000000001\.jpg"):
        CocoHands(tmp_path / "a")
    write_2d(tmp_path / "b", "hint")
    (tmp_path / "b" / "TRAIN_newdays_img" / "c.json").write_text("[]")
    with pytest.raises(ValueError, match=r"c\.json: expected a name that ends in _l or _r"):
        CocoHands(tmp_path / "b", dataset="hint")


def test_images_of_another_size_are_refused(tmp_path: Path) -> None:
    write_2d(tmp_path, "halpe")
    source = CocoHands(tmp_path, dataset="halpe")
    small = np.zeros((HEIGHT // 2, WIDTH // 2, 3), np.uint8)
    cv2.imwrite(str(source.image_file(0)), small)
    with pytest.raises(BadImageError, match=r"\.jpg: 80 × 60 px, annotated with 160 × 120"):
        source[0]
    assert f"1 images are of another size than annotated, {source.image_file(0)} for example" in source.doubts()[0]
    for image in source.image_paths():
        cv2.imwrite(str(image), small[:8, :8])
    with pytest.raises(ValueError, match="labels of images of that size"):
        CocoHands(tmp_path, dataset="halpe")


def test_joints_are_indices_of_pixels_whose_centers_are_integers(tmp_path: Path) -> None:
    """A single bright pixel is at its own index, also in the mirrored image."""
    joints = hands_in_images(1)
    joints[0, 0, 5], joints[0, 1, 5] = (20, 30), (20, 30)
    write_2d(tmp_path, "halpe", images=1)
    draw(tmp_path / "hico_20160224_det/images/train2015/000000000000.jpg", np.array([[20.0, 30.0]]))
    edit_json(
        tmp_path / TRAIN["halpe"],
        lambda c: c["annotations"][0].update(
            keypoints=[0.0] * 282 + [v for hand in joints[0] for p in hand.tolist() for v in (*p, 1.0)]
        ),
    )
    source = CocoHands(tmp_path, dataset="halpe")
    for hand in range(2):
        sample = source[hand]
        assert sample["joints_2d"] is not None
        y, x = np.unravel_index(int(sample["image"][..., 0].argmax()), (HEIGHT, WIDTH))
        assert sample["joints_2d"][5].tolist() == [x, y]


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="PECLR_PHOTOGRAPHS names no folder with official_samples")
@pytest.mark.parametrize("dataset", ["coco_wholebody", "halpe", "onehand10k"])
def test_official_samples_are_read(dataset: DataSet2D, tmp_path: Path) -> None:
    """Annotations of mmpose's tests; Halpe's are of COCO's images."""
    images = SAMPLES / ("coco_wholebody" if dataset == "halpe" else dataset)
    split, folder = {"onehand10k": ("test", "Test/source")}.get(dataset, ("val", "val2017"))
    name = TRAIN[dataset].replace("train", split)
    for target, source in ((tmp_path / name, SAMPLES / dataset / f"test_{dataset}.json"), (tmp_path / folder, images)):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(source)
    hands = CocoHands(tmp_path, split, dataset)
    assert hands.num_hands == {"coco_wholebody": 10, "halpe": 11, "onehand10k": 4}[dataset]
    for hand in range(hands.num_hands):
        sample: Any = hands[hand]
        low, high = np.nanmin(sample["joints_2d"], axis=0), np.nanmax(sample["joints_2d"], axis=0)
        left, top, right, bottom = sample["crop_box"]
        assert ((low > [left - 2, top - 2]) & (high < [right + 2, bottom + 2])).all()  # people drew the boxes
        assert ((low >= -0.5) & (high <= np.array(sample["image"].shape[1::-1]) - 0.5)).all()


def test_pretraining_and_finetuning_take_them_beside_hands_with_depth(tmp_path: Path) -> None:
    """Joints that a batch calls known are where its views show dots; of RHD alone there is depth."""
    write_2d(tmp_path / "onehand10k", "onehand10k", images=4)
    write_2d(tmp_path / "hint", "hint")
    write_rhd(tmp_path / "rhd")
    sources = [CocoHands(tmp_path / name, dataset=name) for name in ("onehand10k", "hint")]
    with_depth: list[HandSource] = [*sources, RHD(tmp_path / "rhd")]
    geometry = GeometryRange(rotation=(-30, 30), scale=(1.0, 1.1), translation=(-0.05, 0.05))
    labeled = LabeledHandDataModule(sources=with_depth, view_size=96, batch_size=14, geometry=geometry, val_fraction=0)
    labeled.setup("fit")
    batch = next(iter(labeled.train_dataloader()))
    number = torch.from_numpy(labeled.train_set.source.hands)[batch["index"]]  # type: ignore[attr-defined]
    assert torch.equal(batch["has_3d"], number >= 10)
    assert torch.equal(~batch["joint_valid"].all(dim=1), number < 4)  # the wrists of OneHand10K
    pixels = batch["joints_25d"][..., :2].round().long()
    shown = batch["joint_valid"] & ((pixels >= 0) & (pixels < 96)).all(dim=-1)
    hands, joints = shown.nonzero(as_tuple=True)
    assert len(hands) > 250
    x, y = pixels[hands, joints].T
    assert batch["image"][hands, :, y, x].float().mean() > 110  # blurred, and others' colors
    pairs = PairedViewDataModule(sources=with_depth, view_size=96, batch_size=14, with_joints=True, val_fraction=0)
    views = next(iter(pairs.train_dataloader()))
    assert views["view_from_crop"].isfinite().all()
    assert (views["joints_2d"].isnan().any(dim=-1).sum(dim=-1) <= 1).all()
