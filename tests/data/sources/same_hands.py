"""Whether two sources have the same hands: that of packed labels, and that of the files that they are of."""

from typing import Any

import numpy as np

from peclr.data.samples import HandSource


def assert_same_hands(packed: HandSource, read: HandSource, every: int = 1) -> None:
    """Samples are the same to the bit, of which so many are left out between two, and so are identities."""
    assert packed.identity() == read.identity()
    assert len(packed) == len(read)
    for image in range(0, len(read), every):
        one: dict[str, Any] = {**packed[image]}
        other: dict[str, Any] = {**read[image]}
        assert one.keys() == other.keys()
        for name, value in other.items():
            np.testing.assert_array_equal(one[name], value)
