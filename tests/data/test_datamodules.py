from __future__ import annotations

from argparse import ArgumentError
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytorch_lightning as pl
import torch
from jsonargparse import ArgumentParser

from peclr.data.datamodules import LabeledHandDataModule, PairedViewDataModule
from peclr.data.datasets import LabeledHandDataset, PairedViewDataset
from peclr.data.samples import HandSource
from peclr.data.sources.composed import SelectedHands
from peclr.data.sources.freihand import FreiHAND
from peclr.data.views.geometric import GeometryRange
from peclr.data.views.photometric import Photometric

if TYPE_CHECKING:
    from tests.data.conftest import Layout


def paired(root: Path, **options: Any) -> PairedViewDataModule:
    settings = {"view_size": 32, "batch_size": 4, "val_fraction": 0.34, **options}
    return PairedViewDataModule(sources=[FreiHAND(root)], **settings)


def labeled(root: Path, stage: str = "fit", **options: Any) -> LabeledHandDataModule:
    module = LabeledHandDataModule(root, **{"view_size": 32, "batch_size": 4, "val_fraction": 0.34, **options})
    module.setup(stage)
    return module


def ids(dataset: PairedViewDataset | LabeledHandDataset | None) -> set[str]:
    assert dataset is not None
    source = dataset.source if isinstance(dataset, LabeledHandDataset) else dataset.sources[0]
    return {source[index]["id"] for index in range(len(source))}


def hands_in(dataset: PairedViewDataset | LabeledHandDataset | None) -> set[int]:
    return {int(name.split("/")[1]) % 6 for name in ids(dataset)}


def test_validation_hands_are_held_out_with_all_versions(layout: Layout) -> None:
    module = paired(layout.root)
    train, val = hands_in(module.train_set), hands_in(module.val_set)
    assert (len(train), len(val)) == (4, 2)
    assert not train & val
    assert len(ids(module.train_set)) == 12


def test_both_modules_hold_out_the_same_hands(layout: Layout) -> None:
    assert hands_in(paired(layout.root).val_set) == hands_in(labeled(layout.root).val_set)


def test_training_batches_are_full_and_shuffled(layout: Layout) -> None:
    loader = paired(layout.root, batch_size=5).train_dataloader()
    batches = list(loader)
    assert len(batches) == len(loader) == 2
    assert all(batch["views"].shape == (5, 2, 3, 32, 32) for batch in batches)
    order = torch.cat([batch["index"] for batch in batches]).tolist()
    assert len(set(order)) == 10
    assert order != sorted(order)


def test_validation_is_the_same_every_time(layout: Layout) -> None:
    module = paired(layout.root)
    first, second = list(module.val_dataloader()), list(module.val_dataloader())
    torch.testing.assert_close(first, second)
    assert torch.cat([batch["index"] for batch in first]).tolist() == [0, 1, 2, 3]


def test_validation_smaller_than_a_batch_is_one_batch(layout: Layout) -> None:
    (batch,) = paired(layout.root, batch_size=8).val_dataloader()
    assert len(batch["index"]) == 6


def test_validation_can_be_left_out(layout: Layout) -> None:
    module = paired(layout.root, val_fraction=0)
    assert module.val_dataloader() == []
    assert len(module.train_set) == 18


def test_several_sources_and_epoch_length(layout: Layout) -> None:
    sources: list[HandSource] = [FreiHAND(layout.root), FreiHAND(layout.root, "evaluation")]
    module = PairedViewDataModule(sources=sources, view_size=32, batch_size=4, val_fraction=0, epoch_length=40)
    indices = torch.cat([batch["index"] for batch in module.train_dataloader()])
    assert len(indices) == 40
    assert 8 <= (indices >= 18).sum() <= 32


def test_batches_tell_hands_and_if_asked_joints(layout: Layout) -> None:
    plain = next(iter(paired(layout.root).train_dataloader()))
    batch = next(iter(paired(layout.root, with_joints=True).train_dataloader()))
    assert "joints_2d" not in plain
    assert batch["joints_2d"].shape == (4, 2, 21, 2)
    assert (batch["hand"].dtype, batch["hand"].shape) == (torch.int64, (4,))
    # three versions of each of the four training hands
    assert torch.equal(batch["hand"], batch["index"] // 3)


@pytest.mark.parametrize("make", [PairedViewDataModule, LabeledHandDataModule])
def test_hands_are_from_a_root_or_from_sources_and_not_from_both(layout: Layout, make: Any) -> None:
    options: dict[str, Any] = {"batch_size": 2, "view_size": 32, "val_fraction": 0.34, "geometry": None}
    modules = [make(layout.root, **options), make(sources=FreiHAND(layout.root), **options)]
    for module in modules:
        module.setup("fit")
    first, second = ([item["index"] for item in module.train_set] for module in modules)
    assert first == second
    assert modules[0].train_set[0].keys() == modules[1].train_set[0].keys()
    with pytest.raises(ValueError, match=rf"data.root {layout.root} and data.sources are both given; expected one"):
        make(layout.root, sources=FreiHAND(layout.root), **options)
    with pytest.raises(ValueError, match=r"no data: give data\.root, the path of"):
        make(**options)


def test_a_root_is_whatever_is_there(layout: Layout) -> None:
    images = PairedViewDataModule(layout.root / "training" / "rgb", batch_size=2, view_size=32, val_fraction=0)
    assert type(images.train_set.sources[0]) is SelectedHands
    assert images.train_set.sources[0].name == "photos"
    with pytest.raises(ValueError, match="nowhere is not a folder"):
        PairedViewDataModule(layout.root / "nowhere")


def test_a_reader_in_the_place_of_a_root_goes_on_working(layout: Layout) -> None:
    """In version 0.1 the first argument was `sources`."""
    source = FreiHAND(layout.root)
    places: list[Any] = [source, [source]]
    for place in places:
        assert len(PairedViewDataModule(place, batch_size=2, val_fraction=0).train_set) == 18


def test_labeled_hands_of_several_sources_are_joined(layout: Layout) -> None:
    sources: list[HandSource] = [FreiHAND(layout.root), FreiHAND(layout.root, "evaluation")]
    options: dict[str, Any] = {"view_size": 32, "batch_size": 4, "val_fraction": 0.25, "sources": sources}
    module = LabeledHandDataModule(**options, test_sources=FreiHAND(layout.root, "evaluation"))
    module.setup("fit")
    assert module.val_set is not None
    assert ids(module.train_set) | ids(module.val_set) == {
        *(f"training/{number:08d}" for number in range(18)),
        *(f"evaluation/{number:08d}" for number in range(2)),
    }
    module.setup("test")
    assert ids(module.test_set) == {"evaluation/00000000", "evaluation/00000001"}
    with pytest.raises(ValueError, match=r"test: data\.sources are for training; give data.test_sources"):
        LabeledHandDataModule(**options).setup("test")
    with pytest.raises(ValueError, match=r"data\.test_sources go with data\.sources"):
        LabeledHandDataModule(layout.root, test_sources=sources[1])
    with pytest.raises(ValueError, match=r"crop image, crop_margin .* in FreiHAND's layout"):
        LabeledHandDataModule(**options, crop="image")


def test_sources_may_have_weights(layout: Layout) -> None:
    sources: list[HandSource] = [FreiHAND(layout.root), FreiHAND(layout.root, "evaluation")]
    options: dict[str, Any] = {"view_size": 32, "batch_size": 4, "val_fraction": 0, "epoch_length": 80}
    module = PairedViewDataModule(sources=sources, weights=[1, 9], **options)
    indices = torch.cat([batch["index"] for batch in module.train_dataloader()])
    assert (indices >= 18).sum() > 60
    with pytest.raises(ValueError, match="expected one for each of 2"):
        PairedViewDataModule(sources=sources, weights=[1], **options)


@pytest.mark.parametrize("name", ["published", "reference"])  # the second is its name before 0.2
def test_the_published_distribution_has_a_name(layout: Layout, name: str) -> None:
    module = paired(layout.root, geometry=name, photometric=name)
    assert module.train_set.augmentation.geometry == GeometryRange.published()
    assert module.train_set.augmentation.photometric == Photometric.published()
    with pytest.raises(ValueError, match="geometry 'publshed' does not exist"):
        paired(layout.root, geometry="publshed")


def test_batches_larger_than_an_epoch_are_refused(layout: Layout) -> None:
    with pytest.raises(ValueError, match="batch_size 13 is more than the 12 pairs"):
        paired(layout.root, batch_size=13)


@pytest.mark.parametrize("fraction", [-0.1, 1.0, 2.0])
def test_held_out_fractions_that_leave_nothing_are_refused(layout: Layout, fraction: float) -> None:
    with pytest.raises(ValueError, match=f"val_fraction {fraction}"):
        paired(layout.root, val_fraction=fraction)
    with pytest.raises(ValueError, match=f"val_fraction {fraction}"):
        labeled(layout.root, val_fraction=fraction)


def test_fewer_labels_are_a_subset_and_validation_stays(layout: Layout) -> None:
    modules = [labeled(layout.root, num_labels=count) for count in (1, 2, 4)]
    chosen = [hands_in(module.train_set) for module in modules]
    assert [len(hands) for hands in chosen] == [1, 2, 4]
    assert chosen[0] < chosen[1] < chosen[2]
    assert len({frozenset(hands_in(module.val_set)) for module in modules}) == 1
    assert hands_in(labeled(layout.root, label_fraction=0.5).train_set) == chosen[1]
    assert len(ids(modules[0].train_set)) == 3  # all versions of a labeled hand


@pytest.mark.parametrize("fraction", [0.0, -0.2, 1.01])
def test_label_fractions_outside_their_range_are_refused(layout: Layout, fraction: float) -> None:
    with pytest.raises(ValueError, match=f"label_fraction {fraction}"):
        LabeledHandDataModule(layout.root, label_fraction=fraction)


def test_label_counts_beyond_what_there_is_are_refused(layout: Layout) -> None:
    with pytest.raises(ValueError, match=r"num_labels 5 .* 4"):
        labeled(layout.root, num_labels=5)
    with pytest.raises(ValueError, match="not both"):
        LabeledHandDataModule(layout.root, label_fraction=0.5, num_labels=3)


def test_only_training_is_augmented(layout: Layout) -> None:
    module = labeled(layout.root)
    assert module.val_set is not None
    assert module.val_set.augmentation.geometry is None
    assert module.val_set.augmentation.photometric is None
    rotation = torch.stack([batch["image_from_view"][0, 0, 1] for batch in module.train_dataloader()])
    assert (rotation != 0).all()
    for batch in module.val_dataloader():
        assert (batch["image_from_view"][:, 0, 1] == 0).all()


def test_test_and_prediction_use_the_evaluation_split(layout: Layout) -> None:
    module = labeled(layout.root, "test")
    (batch,) = module.test_dataloader()
    assert batch["index"].tolist() == [0, 1]
    assert ids(module.test_set) == {"evaluation/00000000", "evaluation/00000001"}


def test_without_evaluation_labels_only_predictions_can_be_made(layout: Layout) -> None:
    (layout.root / "evaluation_xyz.json").unlink()
    with pytest.raises(ValueError, match=r"evaluation_xyz\.json is missing"):
        labeled(layout.root, "test")
    (batch,) = labeled(layout.root, "predict").predict_dataloader()
    assert not batch["has_3d"].any()
    assert not batch["joint_valid"].any()


def test_missing_roots_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nowhere"):
        labeled(tmp_path / "nowhere")


def test_configs_name_classes_briefly_and_override_single_options(layout: Layout) -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(pl.LightningDataModule, "data")
    config: dict[str, Any] = {
        "class_path": "PairedViewDataModule",
        "init_args": {
            "sources": [{"class_path": "FreiHAND", "init_args": {"root": str(layout.root)}}],
            "pairing": "across_versions",
            "geometry": {"rotation": [-10, 10]},
            "photometric": None,
            "batch_size": 2,
            "val_fraction": 0.0,
        },
    }
    parsed = parser.parse_object({"data": config})
    module = parser.instantiate_classes(parsed).data
    assert isinstance(module, PairedViewDataModule)
    assert module.train_set.augmentation.geometry == GeometryRange(rotation=(-10, 10))
    assert module.train_set.augmentation.photometric is None
    assert len(module.train_set) == 6
    config["init_args"]["geometry"] = "published"
    module = parser.instantiate_classes(parser.parse_object({"data": config})).data
    assert module.train_set.augmentation.geometry == GeometryRange.published()
    config["init_args"]["geometry"] = {"rotatoin": [-10, 10]}
    with pytest.raises(ArgumentError, match="rotatoin"):
        parser.parse_object({"data": config})
