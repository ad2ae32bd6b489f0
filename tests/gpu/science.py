"""The part `science`: the demo's comparison on rendered hands at a size for a GPU; further calls go on with it.

Runs that are not finished go on from their checkpoints where the folder stays. These are too large to be carried from
one machine to the next: `science.tar` in the results holds what is finished, and is unpacked where `.gpu/` has it.
"""

import json
import shutil
import tarfile
from pathlib import Path
from typing import Final

from experiments.rendered.plan import SIZES, read_suite
from experiments.rendered.run import main
from tests.gpu.hands import BRIEF, CARRIED, WALK, hands_for
from tests.gpu.parts import Results

SUITE: Final = "demo"


def run(results: Results, deadline: float, *, dry: bool) -> None:
    """Go on with the comparison until it is complete, or until SIGTERM, on which runs save."""
    if results.done(SUITE):
        return
    folder = results.path.parent / "science"
    carried, archive = CARRIED / "science.tar", results.path.parent / "science.tar"
    if carried.exists() and not folder.exists():
        with tarfile.open(carried) as packed:
            packed.extractall(folder, filter="data")
    hands_for(dry=dry)
    size = WALK if dry else BRIEF
    status = main([SUITE, f"--size={size}", "--seeds=0", f"--out={folder}"])
    suite = read_suite(SUITE)
    tuned = len(suite.finetune_labels) * len(SIZES[size].finetune_steps)
    pack_finished(folder, {arm.folder: 1 + tuned * (arm.name in suite.finetune_arms) for arm in suite.arms}, archive)
    rows = [row for path in sorted(folder.rglob("*.json")) if is_score(path) for row in json.loads(path.read_text())]
    results.put(SUITE, {"rows": rows, **({"left_out": "stopped: the same command goes on"} if status else {})})
    if not status:
        shutil.copy(folder / "figure.png", results.path.parent / "science.png")


def is_score(path: Path) -> bool:
    """Whether a file holds rows of scores."""
    return path.name == "probe.json" or (path.name.startswith("finetune-") and path.suffix == ".json")


def pack_finished(folder: Path, expected: dict[str, int], archive: Path) -> None:
    """Pack the plan, and all JSON of arms that need no weights any more.

    Args:
        folder: Of the experiment: plan.json and SEED/ARM/….
        expected: Files of scores by the folder of an arm.
        archive: To write.
    """
    with tarfile.open(archive, "w") as packed:
        packed.add(folder / "plan.json", "plan.json")
        for arm in sorted(folder.glob("seed*/*")):
            if sum(map(is_score, arm.glob("*.json"))) == expected[arm.name]:
                for path in arm.rglob("*.json"):
                    packed.add(path, path.relative_to(folder))
