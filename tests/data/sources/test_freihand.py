from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from peclr.data.sources.freihand import FreiHAND
from peclr.data.sources.selection import split_source
from peclr.data.sources.some_hands import listed
from tests.json_files import set_at

if TYPE_CHECKING:
    from tests.data.conftest import Layout

    Damage = Callable[[Layout], object]


def known(label: NDArray[np.float32] | None) -> NDArray[np.float32]:
    assert label is not None
    return label


def test_every_version_of_a_hand_is_an_image(layout: Layout) -> None:
    hands = FreiHAND(layout.root)
    assert (len(hands), hands.num_hands) == (18, 6)
    assert list(hands.versions_of(2)) == [2, 8, 14]
    assert all(hands.hand_of(index) == hand for hand in range(6) for index in hands.versions_of(hand))
    assert sorted(index for hand in range(6) for index in hands.versions_of(hand)) == list(range(18))


def test_versions_share_labels_and_differ_in_background(layout: Layout) -> None:
    hands = FreiHAND(layout.root)
    first, second = hands[2], hands[8]
    for key in ("K", "joints_3d", "joints_2d", "crop_box"):
        np.testing.assert_array_equal(first[key], second[key])
    assert first["image"][0, 0].argmax() == 0
    assert second["image"][0, 0].argmax() == 1
    assert (first["id"], second["id"]) == ("training/00000002", "training/00000008")


def test_labels_are_what_was_written(layout: Layout) -> None:
    sample = FreiHAND(layout.root)[15]
    np.testing.assert_allclose(known(sample["K"]), layout.K[3], rtol=1e-6)
    np.testing.assert_allclose(known(sample["joints_3d"]), layout.xyz[3], rtol=1e-6)
    assert sample["scale_m"] == pytest.approx(np.linalg.norm(layout.xyz[3, 9] - layout.xyz[3, 10]), rel=1e-6)
    assert sample["hand"] == "right"


def test_joints_2d_are_where_the_image_shows_them(layout: Layout) -> None:
    sample = FreiHAND(layout.root)[4]
    x, y = np.round(known(sample["joints_2d"])).astype(int).T
    inside = (x >= 0) & (x < 112) & (y >= 0) & (y < 112)
    assert inside.sum() > 10
    assert (sample["image"][y[inside], x[inside]] > 180).all()


def test_crop_box_is_square_and_grows_with_the_margin(layout: Layout) -> None:
    tight, wide = FreiHAND(layout.root, crop_margin=1.0)[0], FreiHAND(layout.root, crop_margin=1.25)[0]
    left, top, right, bottom = wide["crop_box"]
    assert right - left == pytest.approx(bottom - top)
    assert right - left == pytest.approx(1.25 * (tight["crop_box"][2] - tight["crop_box"][0]))
    assert (known(tight["joints_2d"]) >= tight["crop_box"][:2] - 1e-3).all()
    assert (known(tight["joints_2d"]) <= tight["crop_box"][2:] + 1e-3).all()


def test_image_crop_looks_at_no_label(layout: Layout) -> None:
    np.testing.assert_allclose(FreiHAND(layout.root, crop="image")[0]["crop_box"], [-0.5, -0.5, 111.5, 111.5])


def test_evaluation_works_with_and_without_labels(layout: Layout) -> None:
    labeled = FreiHAND(layout.root, "evaluation")
    assert labeled.has_labels
    assert (len(labeled), labeled.num_hands) == (2, 2)
    (layout.root / "evaluation_xyz.json").unlink()
    unlabeled = FreiHAND(layout.root, "evaluation")
    assert not unlabeled.has_labels
    sample = unlabeled[1]
    assert sample["joints_3d"] is None
    assert sample["joints_2d"] is None
    assert sample["id"] == "evaluation/00000001"
    np.testing.assert_allclose(sample["crop_box"], [-0.5, -0.5, 111.5, 111.5])
    np.testing.assert_array_equal(sample["K"], labeled[1]["K"])


def test_indices_beyond_the_images_are_refused(layout: Layout) -> None:
    hands = FreiHAND(layout.root)
    for index in (18, -1):
        with pytest.raises(IndexError, match=str(index)):
            hands[index]


def remove(path: str) -> Damage:
    return lambda layout: shutil.rmtree(layout.root / path) if path == "training" else (layout.root / path).unlink()


def edit(file: str, change: Callable[[Any], object]) -> Damage:
    return lambda layout: layout.edit(file, change)


def empty_folder(layout: Layout) -> None:
    for file in (layout.root / "training/rgb").iterdir():
        file.unlink()


SINGULAR = [[300, 0, 56], [0, 0, 56], [0, 0, 1]]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove("training"), r"training/rgb is not a folder.*00000000\.jpg"),
        (remove("training_K.json"), r"training_K\.json is missing"),
        (remove("training_xyz.json"), r"training_xyz\.json is missing"),
        (remove("training_scale.json"), r"training_scale\.json is missing"),
        (edit("training_xyz.json", list.pop), r"training_K\.json has 6.*training_xyz\.json has 5"),
        (edit("training_scale.json", lambda e: e.append(0.03)), r"training_scale\.json has 7"),
        (edit("training_xyz.json", lambda e: e[2].pop()), r"training_xyz\.json: hand 2 .*\(21, 3\)"),
        (edit("training_K.json", set_at("k", 1, 0, 0)), r"training_K\.json: hand 1 .*\(3, 3\)"),
        (edit("training_xyz.json", set_at(float("nan"), 4, 7, 1)), r"training_xyz\.json: hand 4 .*NaN or infinity"),
        (edit("training_xyz.json", set_at(1e300, 4, 7, 1)), r"training_xyz\.json: hand 4 .*NaN or infinity"),
        (edit("training_K.json", set_at(float("inf"), 3, 0, 2)), r"training_K\.json: hand 3 .*NaN or infinity"),
        (edit("training_scale.json", set_at(None, 5)), r"training_scale\.json: hand 5 .*None"),
        (edit("training_xyz.json", set_at(bool(1), 3, 9, 0)), r"training_xyz\.json: hand 3 is not numbers"),
        (edit("training_K.json", set_at("300", 3, 0, 0)), r"training_K\.json: hand 3 is not numbers"),
        (edit("training_scale.json", set_at(0, 5)), r"training_scale\.json: hand 5 .*0\.0"),
        (edit("training_K.json", set_at(SINGULAR, 2)), r"training_K\.json: .*entry 2.*300"),
        (edit("training_xyz.json", set_at(-0.1, 1, 3, 2)), r"training_xyz\.json: hand 1 .*-0\.1"),
        (
            edit("training_xyz.json", lambda e: set_at(e[1][9], 1, 10)(e)),
            r"training_xyz\.json: hand 1 .*joints 9 and 10",
        ),
        (remove("training/rgb/00000007.jpg"), r"training/rgb: missing images, 00000007\.jpg"),
        (remove("training/rgb/00000017.jpg"), r"17 images are not a multiple of the 6 hands"),
        (empty_folder, r"training/rgb: no images"),
    ],
)
def test_damage_is_found_before_training_and_named(layout: Layout, damage: Damage, message: str) -> None:
    damage(layout)
    with pytest.raises(ValueError, match=message):
        FreiHAND(layout.root)


@pytest.mark.parametrize("contents", ["{}", "[]", '"text"'])
def test_labels_that_are_no_list_are_refused(layout: Layout, contents: str) -> None:
    (layout.root / "training_K.json").write_text(contents)
    with pytest.raises(ValueError, match=r"training_K\.json: expected a list"):
        FreiHAND(layout.root)


def test_half_written_json_is_named(layout: Layout) -> None:
    file = layout.root / "training_xyz.json"
    file.write_text(json.dumps(json.loads(file.read_text()))[:1000])
    with pytest.raises(ValueError, match=r"training_xyz\.json: not valid JSON"):
        FreiHAND(layout.root)


@pytest.mark.parametrize("options", [{"split": "test"}, {"crop": "hand"}, {"crop_margin": 0.0}])
def test_unknown_options_are_refused(layout: Layout, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=str(next(iter(options.values())))):
        FreiHAND(layout.root, **options)


def test_real_hands_are_read(real_hands: Path) -> None:
    training = FreiHAND(real_hands / "freihand_layout")
    assert (len(training), training.num_hands) == (16, 4)
    evaluation = FreiHAND(real_hands / "freihand_layout", "evaluation")
    assert len(evaluation) == evaluation.num_hands == 3
    for hands in (training, evaluation):
        sample = hands[len(hands) - 1]
        assert sample["image"].shape == (224, 224, 3)
        bone = np.linalg.norm(known(sample["joints_3d"])[9] - known(sample["joints_3d"])[10])
        assert sample["scale_m"] == pytest.approx(bone, rel=1e-3)
        assert (np.abs(known(sample["joints_2d"]) - 112) < 130).all()


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=5,
)


@given(st.sampled_from(["K", "xyz", "scale"]), st.lists(st.integers(0, 20), max_size=3), ANYTHING)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_anything_in_place_of_a_label_is_refused_or_read(
    layout: Layout, kind: str, place: list[int], value: object
) -> None:
    path = layout.root / f"training_{kind}.json"
    original = path.read_text()
    contents = inner = json.loads(original)
    where: int | None = None
    for step in place:
        if where is not None:
            inner = inner[where]
        if not isinstance(inner, list):
            break
        where = step % len(inner)
    if where is None or not isinstance(inner, list):
        contents = value
    else:
        inner[where % len(inner)] = value
    path.write_text(json.dumps(contents))
    try:
        hands = FreiHAND(layout.root)
    except ValueError as error:
        assert "training_" in str(error)  # noqa: PT017 (either outcome is fine)
    else:
        for sample in (hands[index] for index in range(6)):
            labels = known(sample["K"]), known(sample["joints_3d"]), known(sample["joints_2d"])
            assert all(np.isfinite(label).all() for label in (*labels, sample["crop_box"], sample["scale_m"] or np.nan))
            assert (known(sample["joints_3d"])[:, 2] > 0).all()
    finally:
        path.write_text(original)


def test_groups_and_classes_come_with_a_layout_that_names_them(layout: Layout) -> None:
    assert FreiHAND(layout.root).group_of_hands() is None
    (layout.root / "training_group.json").write_text('["b", "a", "b", "c", "a", "b"]')
    hands = FreiHAND(layout.root)
    groups = hands.group_of_hands()
    assert groups is not None
    assert groups.tolist() == [1, 0, 1, 2, 0, 1]
    assert hands.names_of_hands("class") is None
    training, held_out = map(listed, split_source(hands, 2, seed=0))
    assert len(held_out) in (1, 2)
    assert not set(groups[training].tolist()) & set(groups[held_out].tolist())


@pytest.mark.parametrize(
    ("content", "message"), [('["a"]', "has 1 names; expected one for each of 6"), ("[1]", "names")]
)
def test_groups_that_do_not_fit_are_refused(layout: Layout, content: str, message: str) -> None:
    (layout.root / "training_group.json").write_text(content)
    with pytest.raises(ValueError, match=rf"training_group\.json.*{message}"):
        FreiHAND(layout.root).group_of_hands()
