"""How much memory and time `peclr prepare` takes for a YouTube3DHands of full size, and how fast prepared sets open.

Each number is taken in a process of its own. Frames are empty files: readers look only whether they are there.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from tests.benchmarks.bench_views import FREIHAND_HANDS, FREIHAND_VERSIONS, write_freihand
from tests.benchmarks.run import Row

YOUTUBE3D_HANDS = 47_125  # Kulon et al., CVPR 2020
_POOL = 64  # different meshes; more of them would make the same text at a hundredth of the speed

_TIMED = """
import json, sys, time
{imports}
start = time.perf_counter()
result = {statement}
seconds = time.perf_counter() - start
# of this process alone; ru_maxrss begins with that of the parent
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps([seconds, int(status["VmHWM"].split()[0]) * 1024 / 1e9]))
"""


def run() -> list[Row]:
    """Make data sets of full size in a temporary folder, 3 GB, and measure."""
    with tempfile.TemporaryDirectory() as folder:
        videos, freihand = Path(folder, "videos"), Path(folder, "freihand")
        write_youtube3d(videos, YOUTUBE3D_HANDS)
        write_freihand(freihand, FREIHAND_HANDS, FREIHAND_VERSIONS, [b""])
        gigabytes = (videos / "youtube_train.json").stat().st_size / 1e9
        imports = "from pathlib import Path; from peclr.data.prepare.command import pack_labels"
        seconds, peak = timed(imports, f"pack_labels('youtube3d', Path({str(videos)!r}), 'train')")
        timed(imports, f"pack_labels('freihand', Path({str(freihand)!r}), 'training')")
        opened = [
            timed("from peclr.data.sources.youtube3d import YouTube3DHands", f"YouTube3DHands({str(videos)!r})")[0],
            timed("from peclr.data.sources.freihand import FreiHAND", f"FreiHAND({str(freihand)!r})")[0],
        ]
    return [
        ("prepare_youtube3d_peak_gb", peak, "GB", "≤ 3"),
        ("prepare_youtube3d_gb_per_s", gigabytes / seconds, "GB/s", None),
        ("open_prepared_s", max(opened), "s", "≤ 2"),
    ]


def timed(imports: str, statement: str) -> tuple[float, float]:
    """Seconds that a statement takes in a new process, and that process's peak of resident memory, GB.

    Most of the peak is the mapped label file, which the system can take back; what is allocated is 60 MB.
    """
    code = _TIMED.format(imports=imports, statement=statement)
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    seconds, peak = json.loads(result.stdout.splitlines()[-1])
    return seconds, peak


def write_youtube3d(root: Path, hands: int) -> None:
    """Writes labels as long as the published ones, 19 characters a number, and empty frames."""
    names = [f"youtube/{hand // 460:011d}/video/frames/{hand}.png" for hand in range(hands)]
    for name in names:
        if not (frame := root / name).parent.is_dir():
            frame.parent.mkdir(parents=True)
        frame.touch()
    rng = np.random.default_rng(0)
    meshes = [json.dumps((rng.normal(600, 60, (778, 3))).tolist()) for _ in range(_POOL)]
    images = [{"name": name, "width": 1600, "height": 1200, "id": hand} for hand, name in enumerate(names)]
    with (root / "youtube_train.json").open("w") as file:
        file.write(f'{{"images": {json.dumps(images)}, "annotations": [')
        for hand in range(hands):
            rest = f'"is_left": {hand % 2}, "image_id": {hand}, "id": {hand}'
            file.write(f'{", " if hand else ""}{{"vertices": {meshes[hand % _POOL]}, {rest}}}')
        file.write("]}")
