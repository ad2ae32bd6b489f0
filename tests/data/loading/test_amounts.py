"""Batch, accumulation and validation follow the amount of data unless they are given, and resuming keeps them."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray

from peclr.__main__ import main
from peclr.data.datamodules import PairedViewDataModule
from peclr.data.loading.amounts import accumulation_for, batch_for, describe
from peclr.data.samples import HandSample, HandSource
from peclr.runs.resuming import changed_values


class Numbered(HandSource):
    """Hands that are never read."""

    name = "numbered"

    def __init__(self, num_hands: int) -> None:
        self.num_hands = num_hands

    def __getitem__(self, index: int) -> HandSample:
        pytest.fail(f"hand {index} was read: amounts follow from numbers of hands")


def module(num_hands: int, **options: Any) -> PairedViewDataModule:
    return PairedViewDataModule(sources=Numbered(num_hands), **options)


@pytest.mark.parametrize(
    ("hands", "batch", "held_out", "accumulation"),
    [
        *[(2, 2, 0, 1), (3, 2, 0, 1), (18, 8, 0, 1), (60, 16, 0, 1), (159, 64, 0, 1), (160, 64, 8, 1)],
        *[(300, 128, 15, 1), (2_062, 128, 103, 1), (32_560, 128, 1_628, 15), (130_240, 128, 6_512, 16)],
    ],
)
def test_they_grow_with_the_data_to_what_was_published(
    hands: int, batch: int, held_out: int, accumulation: int
) -> None:
    data = module(hands)
    assert data.batch_size == batch
    assert (0 if data.val_set is None else len(data.val_set)) == held_out
    assert accumulation_for(data.pairs // batch) == accumulation
    assert data.pairs >= 2 * batch or batch == 2
    again = module(hands)
    assert (again.batch_size, again.val_fraction) == (data.batch_size, data.val_fraction)


def test_what_is_given_stays() -> None:
    data = module(18, batch_size=4, val_fraction=0.2)
    assert (data.batch_size, data.val_fraction, data.chosen) == (4, 0.2, {})
    assert data.val_set is not None
    with pytest.raises(ValueError, match="batch_size 128 is more than the 18 pairs"):
        module(18, batch_size=128)
    with pytest.raises(ValueError, match=r"val_fraction 0\.05 holds out 1 pair"):
        module(18, val_fraction=0.05)


def test_an_epoch_of_drawn_pairs_counts_and_hands_that_may_not_repeat_do() -> None:
    assert module(18, epoch_length=4_096).batch_size == 128
    assert module(18, epoch_length=4_096, unique_hands_in_batch=True).batch_size == 16
    with pytest.raises(ValueError, match="1 pair to train on, which leaves nothing to contrast with"):
        module(1)


def test_a_line_says_what_was_chosen_unless_it_is_as_published() -> None:
    chosen = {f"data.{name}": value for name, value in module(18).chosen.items()}
    assert str(describe(18, chosen)).startswith("data.batch_size 8, data.val_fraction 0: for the 18 pairs of an epoch")
    assert describe(120_000, {"data.val_fraction": 0.05, "trainer.accumulate_grad_batches": 16}) is None
    assert [batch_for(pairs) for pairs in (0, 1, 4, 8, 255, 256, 10**6)] == [2, 2, 2, 4, 64, 128, 128]


def test_a_pairing_across_versions_that_do_not_exist_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        module(18, pairing="across_versions")
    said = (
        "numbered, pairing across_versions: each hand has one image: both views are of it, as with pairing same_image"
    )
    assert caplog.messages == [said]
    caplog.clear()
    module(18)
    assert not caplog.messages


def test_what_is_left_to_the_amount_of_data_is_no_other_value() -> None:
    before = {"data": {"init_args": {"batch_size": 8, "seed": 0}}}
    assert changed_values(before, {"data": {"init_args": {"batch_size": "auto", "seed": 0}}}) == {}
    assert changed_values(before, {"data": {"init_args": {"batch_size": 4, "seed": 0}}}) == {
        "data.init_args.batch_size": (8, 4)
    }


@pytest.fixture
def images(tmp_path: Path, make_image: Callable[..., NDArray[np.uint8]]) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(18):
        cv2.imwrite(str(folder / f"{number}.jpg"), make_image(48, 64, number))
    return folder


def test_a_few_images_train_and_go_on_as_they_were_when_more_have_come(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    words = ["fit", "--config=pretrain_photos", f"--data.root={images}", f"--run_dir={run}", "--data.view_size=32"]
    words += ["--model.encoder.init_args={name: resnet18, width: 0.125, weights: null}", "--trainer.max_epochs=2"]
    words += ["--data.num_workers=0", "--trainer.accelerator=cpu", "--trainer.precision=32-true"]
    words += [
        "--trainer.enable_progress_bar=false",
        "--trainer.enable_model_summary=false",
        "--trainer.benchmark=false",
    ]
    assert main(words) == 0
    line = "data.batch_size 8, data.val_fraction 0, trainer.accumulate_grad_batches 1: for the 18 pairs of an epoch"
    assert len(re.findall(re.escape(line), capsys.readouterr().err)) == 1
    saved = yaml.safe_load((run / "config.yaml").read_text())
    assert (saved["data"]["init_args"]["batch_size"], saved["data"]["init_args"]["val_fraction"]) == (8, 0)
    assert saved["trainer"]["accumulate_grad_batches"] == 1
    last = run / "checkpoints" / "last.ckpt"
    assert torch.load(last, weights_only=True)["global_step"] == 4
    for number in range(18, 70):
        (images / f"{number}.jpg").write_bytes((images / "0.jpg").read_bytes())
    assert main([*words, f"--ckpt_path={last}", "--trainer.max_epochs=3"]) == 0
    assert "another value" not in capsys.readouterr().err
    assert torch.load(last, weights_only=True)["global_step"] == 4 + 70 // 8
    assert main(["inspect", *words[1:3], "--data.view_size=32", f"--out={tmp_path / 'views.png'}"]) == 0
    assert "data.batch_size 32, data.val_fraction 0: for the 70 pairs" in capsys.readouterr().err
