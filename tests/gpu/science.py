"""The part `science`: a comparison on rendered hands at a size for a GPU; further calls go on with it.

Runs that are not finished go on from their checkpoints where the folder stays. These are too large to be carried from
one machine to the next: `science.tar` in the results holds what is finished, and is unpacked where `.gpu` has it.
"""

import json
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import Final

from experiments.rendered.plan import SIZES, read_suite
from experiments.rendered.run import main, make_hands
from tests.gpu.parts import Results

CARRIED: Final = Path(".gpu")  # what `python -m tests.gpu.carry pack` makes
SUITE: Final = "gpu"


def size_of(*, dry: bool) -> str:
    """Its name; the larger one has 1,320 images as large as FreiHAND's, in 22 MB."""
    return "gpu-walk" if dry else "gpu-brief"


def hands_for(*, dry: bool) -> Path:
    """The folder of rendered hands: there already, carried, or rendered now."""
    unpack(CARRIED / "hands.tar", Path("data"))
    return make_hands(SIZES[size_of(dry=dry)])


def unpack(archive: Path, out: Path) -> None:
    """Unpack what an archive holds, if there is one, and is not there yet; each whole or not at all."""
    if not archive.exists():
        return
    with tempfile.TemporaryDirectory(dir=archive.parent) as beside, tarfile.open(archive) as packed:
        packed.extractall(beside, filter="data")
        out.mkdir(parents=True, exist_ok=True)
        for path in Path(beside).iterdir():
            if not (out / path.name).exists():
                path.replace(out / path.name)


def run(results: Results, deadline: float, *, dry: bool) -> None:
    """Go on with the comparison until it is complete, or until SIGTERM, on which runs save."""
    if results.done(SUITE):
        return
    results.put(SUITE, {**results.rows.get(SUITE, {}), "left_out": "stopped: no time was left"})  # if it comes to that
    out, size, suite = results.path.parent, size_of(dry=dry), read_suite(SUITE)
    folder = out / "science"
    unpack(CARRIED / "science.tar", folder)
    hands_for(dry=dry)
    status = main([SUITE, f"--size={size}", "--seeds=0", f"--out={folder}"])
    if status == 2:
        raise ValueError(f"{SUITE}: cannot begin, or go on in {folder}")
    expected = 1 + len(suite.finetune_labels) * len(SIZES[size].finetune_steps)
    pack_finished(folder, expected, out / "science.tar")
    rows = [row for path in sorted(folder.rglob("*.json")) if is_score(path) for row in json.loads(path.read_text())]
    results.put(SUITE, {"rows": rows, **({"left_out": "stopped: the same command goes on"} if status else {})})
    if not status:
        shutil.copy(folder / "figure.png", out / "science.png")


def is_score(path: Path) -> bool:
    """Whether a file holds rows of scores."""
    return path.name == "probe.json" or (path.name.startswith("finetune-") and path.suffix == ".json")


def pack_finished(folder: Path, expected: int, archive: Path) -> None:
    """Pack the plan and what is scored; that an arm is pre-trained counts if all is, as weights are not packed."""
    with tarfile.open(archive, "w") as packed:
        packed.add(folder / "plan.json", "plan.json")
        for arm in sorted(folder.glob("seed*/*")):
            scores = [path for path in arm.glob("*.json") if is_score(path)]
            for path in [*scores, *(arm.glob("pretrain.json") if len(scores) == expected else ())]:
                packed.add(path, path.relative_to(folder))
