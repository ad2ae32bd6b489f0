"""Which poses hands take: joint limits, named poses, and a sampler with correlated fingers.

Joint ranges and the DIP–PIP coupling (DIP ≈ 2/3 PIP) follow Lin, Wu and Huang 2000, "Modeling the constraints of human
hand motion", widened by the hyperextension and the hook grip that real images show.
"""

from typing import Final

import numpy as np

from peclr.synthetic.anatomy import Pose, Skeleton, Subject, articulate

# Degrees, (low, high) per angle of a Pose.
FLEXION_LIMITS: Final = np.array(
    [[[0, 0], [-10, 55], [-20, 80]]] + [[[-20, 90], [0, 110], [-5, 80]]] * 4, dtype=np.float64
)
ABDUCTION_LIMITS: Final = np.array([[-5, 60], [-12, 18], [-12, 12], [-14, 12], [-20, 14]], dtype=np.float64)
OPPOSITION_LIMITS: Final = (-5.0, 60.0)
WRIST_LIMITS: Final = np.array([[-55, 60], [-25, 18]], dtype=np.float64)
_WRIST: Final = ([0, -3], [16, 8])  # mean and deviation
DIP_PER_PIP: Final = 2 / 3


def _pose(thumb: tuple[float, float, float, float], *fingers: tuple[float, float, float]) -> Pose:
    """A pose from (radial, opposition, MCP, IP) of the thumb and (abduction, MCP, PIP) of four fingers."""
    radial, opposition, mcp, ip = thumb
    bends = [(0.0, mcp, ip)] + [(flexion, pip, DIP_PER_PIP * pip) for _, flexion, pip in fingers]
    abduction = [radial] + [finger[0] for finger in fingers]
    return Pose(np.array(bends), np.array(abduction), opposition, np.zeros(2))


_CURLED = (0, 78, 100)
NAMED_POSES: Final = {
    "flat": _pose((28, 8, 4, 5), (1, 2, 5), (0, 2, 5), (0, 2, 5), (1, 2, 6)),
    "spread": _pose((50, 12, 0, -5), (13, -4, 4), (2, -4, 4), (-8, -4, 4), (-16, -4, 5)),
    "relaxed": _pose((32, 22, 10, 15), (3, 18, 28), (0, 24, 34), (-1, 30, 38), (-4, 34, 38)),
    "fist": _pose((18, 57, 28, 68), (0, 76, 100), (0, 80, 102), (0, 82, 102), (2, 84, 98)),
    "thumb_up": _pose((52, 2, -6, -12), (0, 74, 98), (0, 78, 102), (0, 80, 102), (2, 82, 98)),
    "point": _pose((20, 53, 27, 68), (2, -2, 5), _CURLED, _CURLED, (2, 82, 98)),
    "gun": _pose((54, 4, 0, -5), (2, 0, 5), (0, 2, 8), _CURLED, (2, 82, 98)),
    "victory": _pose((10, 54, 32, 60), (11, -2, 4), (-8, -2, 4), _CURLED, (2, 82, 98)),
    "three": _pose((12, 52, 32, 56), (11, -2, 4), (0, -2, 4), (-10, -2, 5), (2, 74, 92)),
    "four": _pose((10, 52, 35, 50), (10, -3, 4), (2, -3, 4), (-6, -3, 4), (-14, -3, 5)),
    "horns": _pose((19, 55, 29, 68), (5, -2, 5), _CURLED, _CURLED, (-8, 0, 6)),
    "shaka": _pose((54, 8, -4, -10), (0, 72, 96), (0, 78, 100), (0, 74, 98), (-14, 0, 6)),
    "ok": _pose((23, 46, 8, 28), (2, 41, 48), (1, 22, 20), (-4, 10, 14), (-12, 2, 8)),
    "pinch": _pose((21, 48, 18, 2), (2, 43, 46), (0, 50, 58), (-1, 58, 62), (-3, 62, 60)),
    "claw": _pose((44, 26, 8, 30), (8, 4, 62), (1, 4, 66), (-6, 4, 66), (-13, 4, 60)),
    "grasp": _pose((30, 48, 14, 22), (4, 38, 48), (0, 44, 52), (-3, 48, 54), (-8, 50, 52)),
    "hook": _pose((30, 18, 8, 12), (0, 8, 92), (0, 8, 94), (0, 8, 94), (0, 10, 88)),
    "duck": _pose((10, 50, 4, 2), (1, 58, 8), (0, 60, 8), (0, 60, 8), (0, 58, 10)),
}

# Neighboring fingers share muscles and tendons: bending noise falls off with their distance.
_NEIGHBORS: Final = np.linalg.cholesky(np.exp(-np.abs(np.subtract.outer(np.arange(4), np.arange(4))) / 1.8))
# A finger may press this deep into another before a pose is drawn again: skin gives way.
_ALLOWED_OVERLAP: Final = 0.003
_ATTEMPTS: Final = 6


def sample_pose(rng: np.random.Generator, subject: Subject) -> tuple[Pose, Skeleton]:
    """Draw a pose within the joint limits, preferring one whose digits do not run through each other."""
    best: tuple[float, Pose, Skeleton] | None = None
    for _ in range(_ATTEMPTS):
        pose = clip_to_limits(_sample_named(rng) if rng.random() < 0.6 else _sample_free(rng))
        skeleton = articulate(subject, pose)
        overlap = digit_overlap(skeleton, subject)
        if best is None or overlap < best[0]:
            best = overlap, pose, skeleton
        if overlap < _ALLOWED_OVERLAP:
            break
    assert best is not None
    return best[1], best[2]


def clip_to_limits(pose: Pose) -> Pose:
    """The nearest pose that a hand can take."""
    abduction = np.clip(pose.abduction, *ABDUCTION_LIMITS.T)
    # Fingers press against each other rather than cross: going from index to little finger they only turn away.
    slack = 3.0 * np.arange(4)
    abduction[1:] = np.minimum.accumulate(abduction[1:] - slack) + slack
    return Pose(
        np.clip(pose.flexion, FLEXION_LIMITS[..., 0], FLEXION_LIMITS[..., 1]),
        np.clip(abduction, *ABDUCTION_LIMITS.T),
        float(np.clip(pose.opposition, *OPPOSITION_LIMITS)),
        np.clip(pose.wrist, *WRIST_LIMITS.T),
    )


def _sample_named(rng: np.random.Generator) -> Pose:
    """One named pose, or a blend of two, with noise."""
    names = list(NAMED_POSES)
    first, second = (NAMED_POSES[names[i]] for i in rng.choice(len(names), 2, replace=False))
    weight = 0.0 if rng.random() < 0.6 else float(rng.uniform(0.1, 0.5))
    bend = _NEIGHBORS @ rng.normal(0, 6, (4, 2))
    flexion = (1 - weight) * first.flexion + weight * second.flexion
    flexion[1:, :2] += bend
    flexion[1:, 2] += DIP_PER_PIP * bend[:, 1] + rng.normal(0, 3, 4)
    flexion[0, 1:] += rng.normal(0, 6, 2)
    abduction = (1 - weight) * first.abduction + weight * second.abduction + rng.normal(0, [5, 2, 1.5, 2, 3])
    opposition = (1 - weight) * first.opposition + weight * second.opposition + rng.normal(0, 4)
    return Pose(flexion, abduction, opposition, rng.normal(*_WRIST))


def _sample_free(rng: np.random.Generator) -> Pose:
    """A pose of its own: one closing of the whole hand, neighbors alike, MCP and PIP partly independent."""
    closing = rng.beta(1.1, 1.4)
    along = _NEIGHBORS @ rng.normal(0, 1, (4, 2))
    mcp = -5 + 75 * closing + 20 * along[:, 0] + [0, 2, 4, 6]
    pip = 5 + 85 * closing + 24 * along[:, 1]
    dip = DIP_PER_PIP * np.clip(pip, 0, 110) + rng.normal(0, 6, 4)
    spread = rng.beta(1.2, 1.6) * (1 - 0.6 * closing)
    fingers = spread * np.array([13, 2, -8, -16]) + rng.normal(0, [2.5, 1.5, 2, 3])
    radial = rng.normal(28, 14)
    thumb = [0.0, rng.normal(10 + 15 * closing, 12), rng.normal(10 + 20 * closing, 18)]
    opposition = rng.normal(15 + 28 * closing, 12)
    flexion = np.vstack([thumb, np.stack([mcp, pip, dip], axis=1)])
    return Pose(flexion, np.concatenate([[radial], fingers]), opposition, rng.normal(*_WRIST))


def digit_overlap(skeleton: Skeleton, subject: Subject) -> float:
    """The depth to which two digits run into each other: metres, measured between spheres along their segments."""
    joints = skeleton.joints[1:].reshape(5, 4, 3)
    along = np.array([1 / 3, 2 / 3, 1.0])[:, None]
    # Of the first segments only the far end: near the palm digits belong together.
    centers = np.concatenate(
        [
            joints[:, 1, None],
            joints[:, 1, None] + along * (joints[:, 2] - joints[:, 1])[:, None],
            joints[:, 2, None] + (along - 0.1) * (joints[:, 3] - joints[:, 2])[:, None],
        ],
        axis=1,
    )
    radii = 0.0082 * subject.girths * np.array([1.15, 1, 1, 1, 0.85])
    digit, other = np.triu_indices(5, k=1)
    distance = np.linalg.norm(centers[digit][:, :, None] - centers[other][:, None], axis=-1)
    return float(np.max(radii[digit] + radii[other] - distance.min(axis=(1, 2))))
