"""2-D joints of hands to compare them by: of labels, or of a network; found in tasks that anyone may do."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple

import cv2
import numpy as np
import orjson
import torch
from numpy.typing import NDArray

from peclr.data.prepare.sharding import task_ranges
from peclr.data.samples import HandSample, HandSource, HasJoints2D
from peclr.data.sources.composed import SelectedHands
from peclr.data.sources.listing import some
from peclr.geometry.joints import NUM_JOINTS
from peclr.inference.hands import predict_source
from peclr.inference.network import TrainedNetwork, load_network
from peclr.options import array_on_disk, writing_whole
from peclr.parallel import Advance
from peclr.untrusted.binary import read_arrays, sha256_of

_BATCH: Final = 32  # views that the network looks at together


class Detector(NamedTuple):
    """A fine-tuned network, which each process loads by itself."""

    run: Path
    checkpoint: str  # of the run
    sha256: str  # of the checkpoint

    def load(self) -> TrainedNetwork:
        """Load it; ValueError if it has changed."""
        trained = load_network(self.run)
        if sha256_of(trained.checkpoint) != self.sha256:
            raise ValueError(f"{trained.checkpoint} has changed since this began; give the one that it began with")
        return trained


def first_version(source: HandSource, hand: int) -> HandSample:
    """Read the first version of a hand."""
    return source[source.versions_of(hand)[0]]


def has_labels(source: HandSource) -> bool:
    """Whether a source has 2-D joints, by its first hand."""
    return first_version(source, 0)["joints_2d"] is not None


def labels_of(source: HandSource) -> NDArray[np.float32] | None:
    """(hands, 21, 2), as `joints_of` without a detector, where no image needs to be read for them."""
    return source.joints_2d_of_hands() if isinstance(source, HasJoints2D) else None


def joints_of(
    source: HandSource, detector: TrainedNetwork | None, hands: range, advance: Advance
) -> NDArray[np.float32]:
    """(hands, 21, 2), pixels of the first version of some hands; NaN for joints that labels do not know.

    The detector finds them in the source's crop boxes; None takes the labels. Where the source knows no camera, one is
    assumed: only the wrist depends on it, as the network regresses the palm in its place. ValueError if a hand has no
    label, an image cannot be read, or the network predicts what is not finite.
    """
    found = np.empty((len(hands), NUM_JOINTS, 2), np.float32)
    if detector is not None:
        chosen = SelectedHands(source, hands)
        for place, hand in enumerate(predict_source(detector, chosen, _BATCH, progress=False)):
            found[place] = hand.keypoints_2d
            advance()
        return found
    for place, number in enumerate(hands):
        sample = first_version(source, number)
        if sample["joints_2d"] is None:
            raise ValueError(f"{source.name}, {sample['id']}: no 2-D joints to compare hands by, others have some")
        found[place] = sample["joints_2d"]
        advance()
    return found


class Task(NamedTuple):
    """Some hands of one source."""

    source: int  # its number
    hands: range


def tasks_of(sources: Sequence[HandSource], known: Sequence[bool]) -> list[Task]:
    """Divide the hands of those sources whose joints are not known yet."""
    unknown = [number for number, is_known in enumerate(known) if not is_known]
    return [Task(number, hands) for number in unknown for hands in task_ranges(sources[number].num_hands)]


@dataclass
class JointFinder:
    """Does tasks; pickled, it is as new.

    Attributes:
        tasks: what there is to do.
        sources: of the hands.
        detectors: of each source; None takes the labels.
        folder: of the output, a file a task.
        job: what each file is marked with, so that those of another job are not taken for it.
    """

    tasks: Sequence[Task]
    sources: Sequence[HandSource]
    detectors: Sequence[Detector | None]
    folder: Path
    job: str

    @cached_property
    def _loaded(self) -> dict[Detector, TrainedNetwork]:
        return {}

    def __call__(self, task: int, advance: Advance) -> None:
        """Do a task."""
        number, hands = self.tasks[task]
        detector = self.detectors[number]
        if detector is not None and detector not in self._loaded:
            self._loaded[detector] = detector.load()
        network = None if detector is None else self._loaded[detector]
        cv2.setNumThreads(1)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # sums are not the same in several
        try:
            joints = joints_of(self.sources[number], network, hands, advance)
        finally:
            torch.set_num_threads(threads)
        about = np.frombuffer(self._about(task), np.uint8)
        with writing_whole(file_of(self.folder, task), shared=True) as file:
            np.savez(file, allow_pickle=False, joints=joints, about=about)

    def read(self, number: int, path: Path) -> NDArray[np.float32]:
        """Join what was found in a source in a new .npy file, memory-mapped, (hands, 21, 2).

        ValueError says which tasks are missing, or which file is damaged or not of this job; nothing is removed.
        """
        tasks = [task for task, (source, _) in enumerate(self.tasks) if source == number]
        if missing := [str(task) for task in tasks if not is_done(self.folder, task)]:
            raise ValueError(
                f"{self.folder}: {len(missing):,} of {len(self.tasks):,} tasks are not done: {some(missing)}"
            )
        shape = (self.sources[number].num_hands, NUM_JOINTS, 2)
        joined: NDArray[np.float32] = array_on_disk(path, np.float32, shape)
        for task in tasks:
            file, hands = file_of(self.folder, task), self.tasks[task].hands
            again = "remove it, and do the task again with the same command"
            try:
                arrays = read_arrays(file)
            except ValueError as error:
                raise ValueError(f"{error}; {again}") from error
            joints, about = arrays.get("joints"), arrays.get("about")
            if about is None or about.tobytes() != self._about(task):
                raise ValueError(f"{file}: is not of task {task} of this job; {again}")
            if joints is None or joints.dtype != np.float32 or joints.shape != (len(hands), *shape[1:]):
                raise ValueError(f"{file}: expected joints of {len(hands)} hands; {again}")
            joined[hands.start : hands.stop] = joints
        return joined

    def _about(self, task: int) -> bytes:
        return orjson.dumps({"job": self.job, "task": task})


def file_of(folder: Path, task: int) -> Path:
    """Where a task leaves its output."""
    return folder / f"{task:06d}.npz"


def is_done(folder: Path, task: int) -> bool:
    """Whether the output of a task is there."""
    return file_of(folder, task).is_file()
