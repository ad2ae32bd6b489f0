"""Any images of hands, without labels: those in a folder, or those that a pattern matches."""

import math
import os
from pathlib import Path

import numpy as np

from peclr.data.samples import HandSample, HandSource, hash_of
from peclr.data.sources.box_files import PackedBoxes, boxed_hand, check_within, read_boxes
from peclr.data.sources.image_faults import check_image_files
from peclr.data.sources.images import image_sizes, read_reduced
from peclr.data.sources.listing import IMAGES, describe_left_out, list_files
from peclr.data.sources.packed_text import pack_texts
from peclr.geometry.planar import enclosing_square, whole_image


class ImageFiles(HandSource):
    """Images below a folder, in order of their names; each is one version of one hand.

    Without boxes, the hand fills the image. Several boxes of one file are several hands; a file that is not listed is
    used whole, and one that is listed without a box is left out. Left hands, where boxes say it, are mirrored.
    """

    name = "photos"  # is in the identity of mined pairs

    def __init__(self, root: str | Path, boxes: str | Path | None = None) -> None:
        """List the images, which are read one at a time; ValueError if there are none, or boxes do not fit them.

        Args:
            root: The folder; folders below it count. Or a pattern as of a shell, with ** for any folders.
            boxes: File that says where the hands are, see `peclr.data.sources.box_files`; names are relative to the
                folder, or to the part of the pattern before the first wildcard. Boxes are made square, without margin.
        """
        self.root, files, self._left_out = list_files(root, IMAGES, "images")
        found = read_boxes(Path(boxes)) if boxes is not None else {}
        if unknown := sorted(found.keys() - set(files)):
            raise ValueError(f"{boxes}: {unknown[0]} is not an image below {self.root}")
        hands = [(file, box) for file, name in enumerate(files) for box in found.get(name, [None])]
        # packed: objects would be copied, page by page, in every worker that counts references to them
        self._files, self._boxes = pack_texts(files), PackedBoxes([box for _, box in hands])
        self._file = np.fromiter((file for file, _ in hands), np.int32, len(hands)) if boxes is not None else None
        if empty := sum(found.get(file) == [] for file in files):
            self._left_out[f"without a hand by {boxes}"] = empty
        self.num_hands = len(hands)

    def image_paths(self) -> list[Path]:
        """See `HasFiles`."""
        used = range(len(self._files)) if self._file is None else np.unique(self._file).tolist()
        return [self.root / self._files[file] for file in used]

    def doubts(self) -> list[str]:
        """See `HasFiles`."""
        return [describe_left_out(self._left_out)] if self._left_out else []

    def check_images(self) -> None:
        """See `HandSource`; boxes beyond their images are refused, too."""
        check_image_files(self.image_paths())
        edges = self._boxes.edges
        hands = np.flatnonzero(~np.isnan(edges[:, 0])).tolist()
        paths = [self.root / self._name(hand) for hand in hands]
        for hand, path, (width, height) in zip(hands, paths, image_sizes(paths).tolist(), strict=True):
            check_within(edges[hand], width, height, path)

    def identity(self) -> str:
        """See `HandSource`: of the images' names and boxes."""
        names = np.array([os.fsencode(self._name(hand)) for hand in range(self.num_hands)])
        return hash_of(self.name, names, self._boxes.squares(self.num_hands))

    def _name(self, hand: int) -> str:
        return self._files[hand if self._file is None else int(self._file[hand])]

    def __getitem__(self, index: int) -> HandSample:
        return self.read(index, math.inf)

    def read(self, index: int, min_side: float) -> HandSample:
        """Read the image of hand `index` for a view."""
        file, box = self._name(index), self._boxes[index]
        length = None if box is None else float((box.edges[2:] - box.edges[:2]).max())
        decoded = read_reduced(self.root / file, length, min_side)
        if box is None:
            return boxed_hand(decoded, whole_image(decoded.width, decoded.height), file, "unknown")
        check_within(box.edges, decoded.width, decoded.height, self.root / file)
        return boxed_hand(decoded, enclosing_square(box.edges), file, box.side or "unknown")
