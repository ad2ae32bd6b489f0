"""Lightning as runs use it: limits on batches are read as written, and only what concerns a run is said."""

import logging
import warnings
from datetime import timedelta
from typing import Any

import pytorch_lightning as pl

from peclr.data.loading.amounts import Auto


class Trainer(pl.Trainer):
    """Lightning's, whose limits on batches are read as written: 1 is one batch and 1.0 all of them.

    Accumulation may be left to the amount of data, "auto", which is a number by the time that a trainer is made.

    `typing` caches unions whatever their order, so that Lightning's hints, read by jsonargparse, ask for floats first.

    Args:
        args: Lightning's.
        limit_train_batches: batches of an epoch that are trained on: a number, or a part of them up to 1.0.
        limit_val_batches: the same of validation.
        limit_test_batches: the same of testing.
        limit_predict_batches: the same of predicting.
        overfit_batches: train on these batches alone, a number or a part; 0.0 for all.
        accumulate_grad_batches: batches whose gradients an optimizer step sums up.
        val_check_interval: when to validate within an epoch: after a number of batches, a part of them, or a time.
        kwargs: Lightning's.
    """

    def __init__(
        self,
        *args: Any,
        limit_train_batches: int | float | None = None,
        limit_val_batches: int | float | None = None,
        limit_test_batches: int | float | None = None,
        limit_predict_batches: int | float | None = None,
        overfit_batches: int | float = 0.0,
        accumulate_grad_batches: int | Auto = 1,
        val_check_interval: int | float | str | timedelta | dict[str, int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            *args,
            limit_train_batches=limit_train_batches,
            limit_val_batches=limit_val_batches,
            limit_test_batches=limit_test_batches,
            limit_predict_batches=limit_predict_batches,
            overfit_batches=overfit_batches,
            accumulate_grad_batches=accumulate_grad_batches,  # type: ignore[arg-type]  # a number by now
            val_check_interval=val_check_interval,
            **kwargs,
        )


def quiet_lightning() -> None:
    """Leave out warnings that users can do nothing about, and advertisements."""
    # Lightning 2.6 asks torch 2.11's pytree in a way that a later torch will not answer; users cannot fix it
    warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
    # scoring needs weights, not the callbacks that wrote them
    warnings.filterwarnings("ignore", message="Be aware that when using `ckpt_path`, callbacks")
    # few data have no validation, or few steps an epoch
    warnings.filterwarnings("ignore", message="Total length of `list` across ranks is zero")
    warnings.filterwarnings("ignore", message="The number of training batches .* is smaller than the logging interval")
    logging.getLogger("pytorch_lightning.utilities.rank_zero").addFilter(_is_no_advertisement)


def _is_no_advertisement(record: logging.LogRecord) -> bool:
    """Whether what Lightning logs is about the run, not about products and devices that nobody asked for."""
    return not any(word in record.getMessage() for word in ("Tip: For seamless", "TPU available: False"))
