from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from peclr.data.datamodules import LabeledHandDataModule, PairedViewDataModule
from peclr.data.datasets import Augmentation, LabeledHandDataset, PairedViewDataset
from peclr.data.loading.loaders import make_loader
from peclr.data.loading.sampling import EpochSampler
from peclr.data.loading.skipping import SKIPPED_NAME
from peclr.data.sources.freihand import FreiHAND
from peclr.data.sources.images import BadImageError
from peclr.data.views.geometric import GeometryRange

if TYPE_CHECKING:
    from tests.data.conftest import Layout

BAD = (4, 5, 9)


@pytest.fixture
def damaged(layout: Layout) -> FreiHAND:
    """Eighteen images, of which three cannot be read: cut short, empty, and a folder."""
    rgb = layout.root / "training" / "rgb"
    files = [rgb / f"{index:08d}.jpg" for index in BAD]
    files[0].write_bytes(files[0].read_bytes()[:700])
    files[1].write_bytes(b"")
    files[2].unlink()
    files[2].mkdir()
    return FreiHAND(layout.root)


def paired(source: FreiHAND, **options: Any) -> PairedViewDataset:
    return PairedViewDataset([source], view_size=32, augmentation=Augmentation(GeometryRange()), **options)


def test_errors_are_the_default_and_name_the_file(damaged: FreiHAND) -> None:
    for dataset in (paired(damaged), LabeledHandDataset(damaged, 32)):
        for index in BAD:
            with pytest.raises(BadImageError, match=f"{index:08d}.jpg: "):
                dataset[index]


def test_the_next_readable_image_takes_the_place(damaged: FreiHAND) -> None:
    for dataset in (paired(damaged, on_bad_image="skip"), LabeledHandDataset(damaged, 32, on_bad_image="skip")):
        for bad, instead in ((4, 6), (5, 6), (9, 10)):
            torch.testing.assert_close(dataset[3, bad], dataset[3, instead], rtol=0, atol=0)
            assert dataset[3, bad]["index"] == instead
        assert len(dataset.skipped.problems()) == 3
        assert [problem.split(": ")[0][-12:] for problem in dataset.skipped.problems()] == [
            f"{index:08d}.jpg" for index in BAD
        ]


def test_it_stays_within_the_source(damaged: FreiHAND) -> None:
    last = damaged.root / "training" / "rgb" / f"{17:08d}.jpg"
    last.write_bytes(b"")
    evaluation = FreiHAND(damaged.root, "evaluation")
    dataset = PairedViewDataset([damaged, evaluation], view_size=32, on_bad_image="skip")
    assert dataset[17]["index"] == 0


def test_a_pair_needs_both_of_its_images(damaged: FreiHAND) -> None:
    dataset = paired(damaged, pairing="across_versions", on_bad_image="skip")
    for epoch in range(6):
        for hand in range(6):
            source, images = dataset.images_of((epoch, dataset[epoch, hand]["index"]))
            assert source is damaged
            assert not set(images) & set(BAD)


def test_too_many_are_not_chance(damaged: FreiHAND) -> None:
    for file in (damaged.root / "training" / "rgb").glob("*.jpg"):
        if file.is_file():
            file.write_bytes(b"")
    with pytest.raises(BadImageError, match="in a row"):
        paired(damaged, on_bad_image="skip")[0]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_run_folder_lists_every_image_once(
    damaged: FreiHAND, tmp_path: Path, num_workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = paired(damaged, on_bad_image="skip")
    dataset.skipped.write_to(tmp_path / "run")
    loader = make_loader(dataset, EpochSampler([18]), batch_size=3, num_workers=num_workers)
    for _ in range(2):
        assert sum(len(batch["index"]) for batch in loader) == 18
    problems = dataset.skipped.problems()
    assert len(problems) == 3
    assert "is a directory" in problems[2].lower()
    assert set((tmp_path / "run" / SKIPPED_NAME).read_text().splitlines()) == set(problems)
    with caplog.at_level(logging.WARNING):
        dataset.skipped.report()
    assert f"3 images could not be read and were skipped; {tmp_path / 'run' / SKIPPED_NAME}" in caplog.text


def test_nothing_skipped_leaves_no_file(layout: Layout, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dataset = paired(FreiHAND(layout.root), on_bad_image="skip")
    dataset.skipped.write_to(tmp_path / "run")
    assert dataset[0]["index"] == 0
    dataset.skipped.report()
    assert not (tmp_path / "run").exists()
    assert caplog.text == ""


def test_modules_pass_it_on_but_never_score_other_images(damaged: FreiHAND) -> None:
    pairs = PairedViewDataModule(sources=[damaged], view_size=32, batch_size=2, on_bad_image="skip")
    assert pairs.train_set.skipped.on_bad_image == "skip"
    labeled = LabeledHandDataModule(damaged.root, 32, batch_size=2, val_fraction=0.34, on_bad_image="skip")
    labeled.setup("fit")
    labeled.setup("test")
    assert labeled.val_set is not None
    policies = [part.skipped.on_bad_image for part in (labeled.train_set, labeled.val_set, labeled.test_set)]
    assert policies == ["skip", "error", "error"]
    with pytest.raises(ValueError, match="on_bad_image 'ignore'"):
        paired(damaged, on_bad_image="ignore")
