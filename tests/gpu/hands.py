"""Rendered hands to measure with: those that were carried, or rendered where there are none."""

import tarfile
import tempfile
from pathlib import Path
from typing import Final

from experiments.rendered.plan import SIZES
from experiments.rendered.run import make_hands

CARRIED: Final = Path(".gpu")  # what `python -m tests.gpu.carry pack` makes
ARCHIVE: Final = CARRIED / "hands.tar"
# 1,320 pictures as large as FreiHAND's, in 22 MB
BRIEF: Final = "gpu-brief"
WALK: Final = "gpu-walk"


def hands_for(*, dry: bool) -> Path:
    """The folder of hands under `data/`: there already, unpacked, or rendered."""
    if not dry and ARCHIVE.exists():
        unpack(ARCHIVE, Path("data"))
    return make_hands(SIZES[WALK if dry else BRIEF])


def unpack(archive: Path, out: Path) -> None:
    """Unpack folders that are not there yet, each whole or not at all."""
    with tempfile.TemporaryDirectory(dir=".") as beside, tarfile.open(archive) as packed:
        packed.extractall(beside, filter="data")
        out.mkdir(exist_ok=True)
        for folder in Path(beside).iterdir():
            if not (out / folder.name).exists():
                folder.replace(out / folder.name)
