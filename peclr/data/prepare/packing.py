"""Labels of a data set, opened with all checks, and packed into memory-mapped arrays by `peclr prepare`."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from peclr.data.sources.layouts import label_files, prepared_kind
from peclr.data.sources.packed_labels import (
    Array,
    PackedArrays,
    SourceStamp,
    prepared_folder,
    replacing,
    stamp_source,
    write_packed,
)
from peclr.data.sources.youtube3d_labels import MISSING, Split, frame_path, read_labels
from peclr.options import naming

if TYPE_CHECKING:  # imports torch
    from peclr.data.sources.freihand import FreiHAND

_FUSED_LENGTH = 22  # ids of films have 11 letters; one name in the official list is two of them


def missing_films(names: NDArray[np.bytes_], suffix: NDArray[np.uint8]) -> list[str]:
    """Where frames of YouTube3DHands are missing: films and numbers of frames, most first.

    Args:
        names: (M,), of the frames.
        suffix: (M,), as from `find_frames`.
    """
    films = Counter(name.decode().split("/")[1] for name in names[suffix == MISSING].tolist())
    return [
        f"{film}: {count:,}" + (" (two ids fused into one)" if len(film) == _FUSED_LENGTH else "")
        for film, count in films.most_common()
    ]


def pack_freihand(root: Path, split: str) -> "FreiHAND":
    """Read and check the labels of a split, and pack them; errors as of the reader, and nothing is written then."""
    from peclr.data.sources.freihand import FreiHAND

    files = [path for path in label_files("freihand", root, split) if path.is_file()]
    with _unchanged(root, files) as stamps:
        source = FreiHAND(root, split, use_prepared=False)  # type: ignore[arg-type]  # the reader checks the split
    counts = {"hands": source.num_hands, "images": len(source)}
    folder = prepared_folder(root, prepared_kind("freihand", split))
    with replacing(folder) as partial:
        write_packed(partial, folder.name, source.labels, stamps, counts)
    return source


def pack_youtube3d(root: Path, split: Split, progress: bool = False) -> PackedArrays:
    """Read and check the labels of a split, and pack them; errors as of `read_labels`, and nothing is written then."""
    [path] = label_files("youtube3d", root, split)
    folder = prepared_folder(root, prepared_kind("youtube3d", split))
    with replacing(folder) as partial:

        def on_disk(shape: tuple[int, ...]) -> NDArray[np.float32]:
            array = np.lib.format.open_memmap(partial / "vertices.npy", "w+", np.float32, shape)
            if hasattr(os, "posix_fallocate"):  # a full disk would end the process by a signal when pages are written
                with naming(partial / "vertices.npy"), (partial / "vertices.npy").open("r+b") as file:
                    os.posix_fallocate(file.fileno(), 0, (partial / "vertices.npy").stat().st_size)
            return array

        with _unchanged(root, [path]) as stamps:
            arrays = read_labels(path, on_disk, progress)
        counts = {"hands": len(arrays["image"]), "images": len(arrays["image_name"])}
        write_packed(partial, folder.name, arrays, stamps, counts)
    return PackedArrays(folder)


def describe_youtube3d(
    arrays: Mapping[str, Array], suffix: NDArray[np.uint8], stretched: NDArray[np.bool_]
) -> list[str]:
    """Counts of YouTube3DHands, in words."""
    hands, left, ids = len(arrays["image"]), int(arrays["is_left"].sum()), arrays["annotation_id"]
    usable = int((suffix[arrays["image"]] != MISSING).sum())
    facts = [f"{hands:,} hands, {left:,} of them left, in {len(suffix):,} frames"]
    if repeated := len(ids) - len(np.unique(ids)):
        facts.append(f"{repeated:,} annotations share their id with another; all are kept")
    if usable < hands:
        facts.append(f"{usable:,} hands have their frame; missing frames by film:")
        facts += [f"  {film}" for film in missing_films(arrays["image_name"], suffix)]
    if stretched.any():
        example = int(stretched.argmax())
        facts.append(
            f"{stretched[arrays['image']].sum():,} hands are left out: frames of another aspect than annotated; "
            f"{stretched.sum():,} frames: {frame_path(arrays['image_name'][example], suffix[example])} for example"
        )
    return facts


def youtube3d_frames(root: Path, arrays: Mapping[str, Array], suffix: NDArray[np.uint8]) -> list[Path]:
    """Frames that are there and show an annotated hand."""
    used = np.unique(arrays["image"])
    return [
        root / frame_path(arrays["image_name"][number], suffix[number])
        for number in used[suffix[used] != MISSING].tolist()
    ]


@contextmanager
def _unchanged(root: Path, files: Sequence[Path]) -> Iterator[dict[str, SourceStamp]]:
    """Stamps of files, by name below `root`, that are checked to hold after they have been read."""
    try:
        stamps = {path.relative_to(root).as_posix(): stamp_source(path) for path in files}
    except OSError as error:
        raise ValueError(f"{error.filename} cannot be read ({error.strerror}); expected a label file") from error
    yield stamps
    for name, stamp in stamps.items():
        status = (root / name).stat()
        if (status.st_size, status.st_mtime_ns) != (stamp["bytes"], stamp["mtime_ns"]):
            raise ValueError(f"{root / name} changed while it was read; expected it to stay as it is")
