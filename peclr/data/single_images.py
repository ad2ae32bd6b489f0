"""Sources in which every hand has one image, as everywhere but in FreiHAND."""

from collections.abc import Sequence

from peclr.data.samples import HandSource


class SingleImages(HandSource):
    """Numbers hands and images alike; `num_hands` is all that a reader tells."""

    def __len__(self) -> int:
        """Number of images, one for each hand."""
        return self.num_hands

    def hand_of(self, index: int) -> int:
        """The hand that image `index` shows: `index` itself."""
        return index

    def versions_of(self, hand: int) -> Sequence[int]:
        """The one image that shows `hand`."""
        return range(hand, hand + 1)
