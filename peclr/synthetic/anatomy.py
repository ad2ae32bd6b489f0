"""The articulated right hand: proportions, subjects, and forward kinematics.

Hand frame: origin at the wrist, x toward the thumb (radial), y toward the finger tips (distal), z out of the palm
(palmar). These axes are right-handed on a right hand, so a hand that is drawn in this frame *is* a right hand.
Metres and radians, except for the tables, which are in millimetres and degrees as in anatomy books.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from peclr.geometry.joints import FINGERS, JOINT_NAMES
from peclr.synthetic.arrays import Floats

# A mean adult hand, 180 mm from the wrist to the middle tip; rows are digits, millimetres. Rounded means of bone
# lengths in the 3-D labels of real hands (InterHand2.6M) and renderings (RHD).
ROOTS_MM: Final = np.array([[26, 23, 9], [25, 83, 1], [4, 86, -1], [-15, 80, 1], [-31, 71, 5]], dtype=np.float64)
LENGTHS_MM: Final = np.array([[44, 33, 28], [42, 26, 24], [44, 29, 25], [41, 27, 25], [32, 20, 21]], dtype=np.float64)
# Direction of each finger at rest, degrees from distal toward the thumb: closed fingers converge slightly.
_SPLAY_DEG: Final = np.array([0.0, 2.0, 0.0, -3.0, -6.0])
HAND_LENGTH_RANGE: Final = (0.170, 0.200)

# Bones that carry skin: forearm, palm, then three segments per digit.
FOREARM, PALM, FIRST_SEGMENT = 0, 1, 2
NUM_BONES: Final = FIRST_SEGMENT + 3 * len(FINGERS)


@dataclass(frozen=True)
class Subject:
    """The proportions of one person's hand."""

    roots: Floats  # (5, 3), m, hand frame: thumb CMC and the four MCP joints
    lengths: Floats  # (5, 3), m: the three segments of each digit
    palm_scale: Floats  # (3,), the palm's size relative to the mean hand per axis
    girths: Floats  # (5,), digit thickness relative to the mean hand


@dataclass(frozen=True)
class Pose:
    """Joint angles in degrees."""

    flexion: Floats  # (5, 3). Fingers: MCP, PIP, DIP. Thumb: 0 (its CMC has no flexion of its own), MCP, IP
    abduction: Floats  # (5,). Fingers: toward the thumb is positive. Thumb: radial abduction of the CMC saddle joint
    opposition: float  # palmar abduction of the thumb's CMC; pronation about its own axis comes with it
    wrist: Floats  # (2,). Flexion (toward the palm) and deviation (toward the thumb) of the hand


@dataclass(frozen=True)
class Skeleton:
    """A posed hand, in the hand frame."""

    joints: Floats  # (21, 3), m, order freihand
    rotations: Floats  # (NUM_BONES, 3, 3): columns are each bone's radial, distal and palmar axes
    origins: Floats  # (NUM_BONES, 3), m: the joint at each bone's near end
    scales: Floats  # (NUM_BONES, 3): stretch relative to the mean hand along the bone's axes


MEAN_SUBJECT: Final = Subject(ROOTS_MM / 1000, LENGTHS_MM / 1000, np.ones(3), np.ones(5))


def sample_subject(rng: np.random.Generator) -> Subject:
    """Draw a person's proportions; the straight wrist–middle-tip length stays within HAND_LENGTH_RANGE."""
    palm_scale = 1 + np.clip(rng.normal(0, [0.05, 0.03, 0.05]), -0.1, 0.1)
    roots = ROOTS_MM / 1000 * palm_scale + np.clip(rng.normal(0, 0.0008, (5, 3)), -0.002, 0.002)
    digits = 1 + np.clip(rng.normal(0, 0.03, (5, 1)), -0.06, 0.06)
    segments = 1 + np.clip(rng.normal(0, 0.03, (5, 3)), -0.06, 0.06)
    lengths = LENGTHS_MM / 1000 * digits * segments
    middle = FINGERS.index("middle")
    length = np.linalg.norm(roots[middle]) + lengths[middle].sum()
    size = float(np.clip(rng.normal(0.184, 0.008), *HAND_LENGTH_RANGE)) / length
    build = 1 + float(np.clip(rng.normal(0, 0.06), -0.12, 0.12))
    girths = size * build * (1 + np.clip(rng.normal(0, 0.02, 5), -0.04, 0.04))
    return Subject(roots * size, lengths * size, palm_scale * size * np.array([1, 1, build]), girths)


def articulate(subject: Subject, pose: Pose) -> Skeleton:
    """Forward kinematics of a subject in a pose."""
    rotations = np.empty((NUM_BONES, 3, 3))
    origins = np.zeros((NUM_BONES, 3))
    scales = np.ones((NUM_BONES, 3))
    joints = np.zeros((len(JOINT_NAMES), 3))

    flexion, deviation = np.radians(pose.wrist)
    # The palm stays put and the forearm turns the other way, so that labels do not depend on the wrist.
    rotations[FOREARM] = (about("z", -deviation) @ about("x", flexion)).T
    rotations[PALM] = np.eye(3)
    scales[PALM] = scales[FOREARM] = subject.palm_scale
    for digit in range(len(FINGERS)):
        rotation = _thumb_base(pose) if digit == 0 else _finger_base(digit, pose)
        position = subject.roots[digit]
        for segment in range(3):
            bone = FIRST_SEGMENT + 3 * digit + segment
            rotation = rotation @ about("x", np.radians(pose.flexion[digit, segment]))
            rotations[bone], origins[bone] = rotation, position
            joints[1 + 4 * digit + segment] = position
            length = subject.lengths[digit, segment]
            stretch = length / MEAN_SUBJECT.lengths[digit, segment]
            scales[bone] = [subject.girths[digit], stretch, subject.girths[digit]]
            position = position + length * rotation[:, 1]
        joints[4 + 4 * digit] = position
    return Skeleton(joints, rotations, origins, scales)


def _finger_base(digit: int, pose: Pose) -> Floats:
    """The frame (3, 3) of an unflexed finger."""
    # Fingers converge on the scaphoid when they bend, and their collateral ligaments tighten: less abduction.
    freedom = np.cos(np.radians(np.clip(pose.flexion[digit, 0], 0, 90)))
    angle = _SPLAY_DEG[digit] + pose.abduction[digit] * (0.25 + 0.75 * freedom)
    # The metacarpal arch rolls the outer fingers toward the middle one.
    roll = {1: -4.0, 2: 0.0, 3: 4.0, 4: 9.0}[digit]
    return about("z", -np.radians(angle)) @ about("y", np.radians(roll))


def _thumb_base(pose: Pose) -> Floats:
    """The thumb's metacarpal on its saddle joint: two free angles, pronation follows opposition."""
    radial, palmar = np.radians(pose.abduction[0]), np.radians(pose.opposition)
    distal = np.array([np.sin(radial) * np.cos(palmar), np.cos(radial) * np.cos(palmar), np.sin(palmar)])
    out = np.array([0.0, 0.0, 1.0]) - np.sin(palmar) * distal
    out /= np.linalg.norm(out)
    frame = np.stack([np.cross(distal, out), distal, out], axis=1)
    return frame @ about("y", -thumb_pronation(pose.opposition))


def thumb_pronation(opposition: float) -> float:
    """The turn of the thumb's pad from the palm's direction to the fingers: opposition in degrees, to radians."""
    return float(np.radians(46.0 + 1.1 * opposition))


def about(axis: str, angle: float) -> Floats:
    """Rotation (3, 3) by an angle in radians about "x", "y" or "z"; about x, positive ones bend fingers to the palm."""
    first, second = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    turn = np.eye(3)
    turn[first, first] = turn[second, second] = np.cos(angle)
    turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
    return turn
