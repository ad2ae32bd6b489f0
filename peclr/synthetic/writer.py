"""Rendered hands on disk, in FreiHAND's layout: the same images for the same seed, on any number of processes."""

import json
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Generator, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import cv2
import numpy as np
from tqdm import tqdm

from peclr.geometry.joints import SCALE_BONE
from peclr.options import check_new_folder, naming, usable_cores, write_whole
from peclr.synthetic.arrays import Bytes
from peclr.synthetic.renderer import VERSION_KINDS, VersionKind, compose, draw_hand
from peclr.synthetic.scene import make_scene, paint_backdrop, sample_hand
from peclr.untrusted.text import read_json

Split: TypeAlias = Literal["training", "evaluation"]

# Raise it whenever the images or labels of a seed change: data made before is then not taken for the same.
GENERATOR_VERSION: Final = 2
MANIFEST: Final = "synth.json"
_SPLITS: Final[tuple[Split, Split]] = ("training", "evaluation")
# Fewer than FreiHAND's four kinds keep the clutter, which looks like real images, and drop the green screen first.
_KEPT: Final[tuple[VersionKind, ...]] = ("sample", "auto", "hom", "gs")
# A hand draws three scenes: the first lights it, and each kind shows one of the three places.
_SCENE_OF: Final[dict[VersionKind, int]] = {"gs": 0, "sample": 0, "auto": 1, "hom": 2}
_JPEG_QUALITY: Final = 92
_HANDS_PER_TASK: Final = 16
_SIZES: Final = (32, 1024)


@dataclass(frozen=True)
class SynthSummary:
    """Numbers of what was written."""

    out: Path
    training_hands: int  # unique
    evaluation_hands: int
    images: int  # all versions counted
    seconds: float


@dataclass(frozen=True)
class _Plan:
    """Everything that the images depend on; what the manifest holds."""

    train: int
    evaluation: int
    seed: int
    size: int
    versions: int
    scenes: int

    def manifest(self) -> dict[str, Any]:
        return {"generator": "peclr synth", "generator_version": GENERATOR_VERSION, **asdict(self)}

    def hands(self, split: Split) -> int:
        return self.train if split == "training" else self.evaluation

    def kinds(self, split: Split) -> tuple[VersionKind, ...]:
        kept = _KEPT[: self.versions if split == "training" else 1]
        return tuple(kind for kind in VERSION_KINDS if kind in kept)


class _Task(NamedTuple):
    plan: _Plan
    root: Path
    split: Split
    start: int
    stop: int


class _Label(NamedTuple):
    K: list[list[float]]
    xyz: list[list[float]]
    scale: float


def write_freihand_layout(
    out: Path,
    train: int,
    evaluation: int,
    seed: int,
    size: int = 224,
    versions: int = 4,
    workers: int | None = None,
    scenes: int = 40,
    *,
    progress: bool = True,
) -> SynthSummary:
    """Write `train` and `evaluation` unique hands into a new or empty folder, as FreiHAND's files are laid out.

    It appears when everything is written, not before.

    Args:
        train: version v of hand i is training/rgb/{i + train · v:08d}.jpg.
        evaluation: one image each.
        seed: hand i of a split depends on it and on i, not on how many there are or who draws them.
        size: width and height of the images, px.
        versions: 4: green screen, homogenized, and two places, as in FreiHAND; 2: the two places; 1: one place.
        workers: processes; as many as there are cores if None.
        scenes: places, lights and people per split, shared by its hands; the splits have none in common.
    """
    plan = _checked(_Plan(train, evaluation, seed, size, versions, scenes), workers)
    out = Path(out).absolute()
    check_new_folder(out)
    started = time.perf_counter()
    total = train * versions + evaluation
    with _appears_whole(out) as root:
        for folder in ("training/mask", "training/rgb", "evaluation/rgb"):
            (root / folder).mkdir(parents=True)
        tasks = [
            _Task(plan, root, split, start, min(start + _HANDS_PER_TASK, plan.hands(split)))
            for split in _SPLITS
            for start in range(0, plan.hands(split), _HANDS_PER_TASK)
        ]
        labels: dict[Split, list[_Label]] = {split: [] for split in _SPLITS}
        bar = tqdm(total=total, desc="rendered hands", unit="img", disable=not progress)
        # Closed even if this process is interrupted: nobody may still be writing when the folder is moved or removed.
        with bar, closing(_run(tasks, workers or usable_cores())) as running:
            for task, drawn in zip(tasks, running, strict=True):
                labels[task.split] += drawn
                bar.update(len(drawn) * len(plan.kinds(task.split)))
        for split in _SPLITS:
            _write_labels(root, split, labels[split])
        write_whole(root / MANIFEST, json.dumps(plan.manifest()) + "\n")
    return SynthSummary(out, train, evaluation, total, time.perf_counter() - started)


def is_complete(
    out: Path, train: int, evaluation: int, seed: int, size: int = 224, versions: int = 4, scenes: int = 40
) -> bool:
    """Whether `out` already holds exactly what write_freihand_layout would write for these arguments."""
    try:
        found = read_json(Path(out) / MANIFEST)
    except (OSError, ValueError):
        return False
    return bool(found == _Plan(train, evaluation, seed, size, versions, scenes).manifest())


def _checked(plan: _Plan, workers: int | None) -> _Plan:
    """The plan, if its numbers are in their ranges; ValueError."""
    ranges = {
        "train": (plan.train, 0, 10**8 // 4),
        "evaluation": (plan.evaluation, 0, 10**8),
        "seed": (plan.seed, 0, 2**32 - 1),
        "size": (plan.size, *_SIZES),
        "versions": (plan.versions, 1, len(VERSION_KINDS)),
        "scenes": (plan.scenes, 1, 10**4),
        "workers": (1 if workers is None else workers, 1, 1024),
    }
    for name, (value, low, high) in ranges.items():
        if not low <= value <= high:
            raise ValueError(f"{name} is {value}; expected {low} to {high}")
    if plan.train + plan.evaluation == 0:
        raise ValueError("train and evaluation are both 0; expected at least one hand")
    return plan


@contextmanager
def _appears_whole(out: Path) -> Iterator[Path]:
    """A hidden sibling to write into; it takes the place of `out` at the end, or goes if anything fails."""
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        if out.exists():
            out.rmdir()  # it was empty; if it is not any more, this fails rather than overwrite
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _run(tasks: list[_Task], workers: int) -> Generator[list[_Label]]:
    """Carry tasks out, in this process or in others."""
    workers = min(workers, len(tasks))
    if workers <= 1:
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)
        try:
            yield from map(_draw, tasks)
        finally:
            cv2.setNumThreads(threads)
        return
    # Spawned, not forked: the caller may have threads (of OpenMP, say), and those do not survive a fork.
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
    try:
        yield from executor.map(_draw, tasks)
    finally:
        executor.shutdown(cancel_futures=True)


def _start_worker() -> None:
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle


def _draw(task: _Task) -> list[_Label]:
    return [_draw_hand_files(task.plan, task.root, task.split, hand) for hand in range(task.start, task.stop)]


def _draw_hand_files(plan: _Plan, root: Path, split: Split, index: int) -> _Label:
    """Write all versions of one hand, and for training its mask; return its labels."""
    series = _SPLITS.index(split)
    rng = np.random.default_rng([plan.seed, series, index])
    hand = sample_hand(rng, plan.size)
    # Series 0 and 1 are hands, 2 and 3 scenes: no two draw the same numbers.
    scene_series = len(_SPLITS) + series
    scenes = rng.permutation(plan.scenes)
    layer = draw_hand(hand, make_scene(plan.seed, scene_series, int(scenes[0])), plan.size)
    for version, kind in enumerate(plan.kinds(split)):
        # Its own numbers, so that a version looks the same whichever others there are.
        own = np.random.default_rng([plan.seed, series, index, 1 + VERSION_KINDS.index(kind)])
        scene = int(scenes[_SCENE_OF[kind] % plan.scenes])
        backdrop = paint_backdrop(plan.seed, scene_series, scene, plan.size, green=kind == "gs")
        image = compose(layer, backdrop, kind, own)
        file = index + plan.hands(split) * version
        _write_jpeg(root / split / "rgb" / f"{file:08d}.jpg", np.ascontiguousarray(image[..., ::-1]))
    if split == "training":
        _write_jpeg(root / split / "mask" / f"{index:08d}.jpg", np.round(255 * layer.mask).astype(np.uint8))
    xyz = np.round(hand.joints, 7)
    scale = float(np.linalg.norm(xyz[SCALE_BONE[0]] - xyz[SCALE_BONE[1]]))
    return _Label(hand.K.tolist(), xyz.tolist(), scale)


def _write_jpeg(path: Path, image: Bytes) -> None:
    written, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if not written:
        raise RuntimeError(f"OpenCV could not encode {path}")
    with naming(path):
        path.write_bytes(data.tobytes())


def _write_labels(root: Path, split: Split, labels: list[_Label]) -> None:
    for key in _Label._fields:
        write_whole(root / f"{split}_{key}.json", json.dumps([getattr(label, key) for label in labels]) + "\n")
