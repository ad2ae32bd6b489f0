"""Batch, accumulation and validation by the amount of data, where a config leaves them to it: "auto".

With data enough they are as published: 128 pairs, 16 batches an optimizer step, 5 % held out. An epoch has at least two
batches, so that pairs are contrasted with others each time, and 16 steps, before steps grow. A loss over fewer than
eight held-out hands would say nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal

from peclr.data.sources.selection import Split

Auto = Literal["auto"]
AUTO: Final = "auto"

_ENOUGH: Final = {"batch_size": 128, "val_fraction": 0.05, "accumulate_grad_batches": 16}  # PeCLR's published code
_BATCHES, _STEPS = 2, 16  # of an epoch, at least
_FEWEST_HELD_OUT: Final = 8


def batch_for(pairs: int) -> int:
    """The largest power of two, at most as published, of which an epoch has two batches; at least 2."""
    return max(2, min(int(_ENOUGH["batch_size"]), 1 << max((pairs // _BATCHES).bit_length() - 1, 1)))


def accumulation_for(batches: int) -> int:
    """Batches of an optimizer step, at most as published, of which an epoch of so many batches has 16; at least 1."""
    return max(1, min(int(_ENOUGH["accumulate_grad_batches"]), batches // _STEPS))


def splits_for(num_hands: Sequence[int], split: Callable[[float], list[Split]]) -> tuple[float, list[Split]]:
    """The fraction of hands to hold out of sources, and how `split` does that: none, if it would be too few."""
    published = float(_ENOUGH["val_fraction"])
    if min(num_hands) > 1 and sum(num_hands) * published >= _FEWEST_HELD_OUT:
        splits = split(published)
        if sum(len(held_out) for _, held_out in splits) >= _FEWEST_HELD_OUT:
            return published, splits
    return 0.0, split(0.0)


def describe(pairs: int, chosen: Mapping[str, float]) -> str | None:
    """What was chosen for so many pairs, by option, in a line; None if it is all as published."""
    if all(_ENOUGH[option.rpartition(".")[2]] == value for option, value in chosen.items()):
        return None
    listed = ", ".join(f"{option} {value:g}" for option, value in chosen.items())
    return f"{listed}: for the {pairs:,} pairs of an epoch; options that are given stay"
