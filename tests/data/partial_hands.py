"""A source of hands of which less is known than of FreiHAND's."""

from pathlib import Path
from typing import Any, Literal

import numpy as np

from peclr.data.samples import HandSample, HandSource
from peclr.data.sources.freihand import FreiHAND, Split
from peclr.geometry.joints import WRIST


class PartialHands(HandSource):
    """Hands of a folder in FreiHAND's layout without some of their labels.

    Args:
        root: the folder.
        knows: "pixels" alone, without camera and depth; "no thumb": joints 1 to 4 are nowhere known; "no wrist" in
            space; "no scale", which the joints in space give; or "nothing".
    """

    name = "partial"

    def __init__(
        self,
        root: Path,
        knows: Literal["pixels", "no thumb", "no wrist", "no scale", "nothing"] = "pixels",
        split: Split = "training",
    ) -> None:
        self._whole, self.knows = FreiHAND(root, split), knows
        self.num_hands = self._whole.num_hands

    def __getitem__(self, index: int) -> HandSample:
        sample: Any = dict(self._whole[index])
        joints_3d, joints_2d = sample["joints_3d"].copy(), sample["joints_2d"].copy()
        if self.knows == "no thumb":
            joints_3d[1:5] = joints_2d[1:5] = np.nan
        elif self.knows == "no wrist":
            joints_3d[WRIST] = np.nan
        sample |= {"joints_3d": joints_3d, "joints_2d": joints_2d}
        if self.knows in ("pixels", "nothing"):
            sample |= dict.fromkeys(("joints_3d", "K", "scale_m"))
        if self.knows == "no scale":
            sample["scale_m"] = None
        return sample | ({"joints_2d": None} if self.knows == "nothing" else {})  # type: ignore[no-any-return]
