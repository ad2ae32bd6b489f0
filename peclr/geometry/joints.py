"""The 21 joints of a hand: names, bones, colors, and the orders in which data sets list them.

Everything inside the project is in order freihand; readers and checkpoint loaders convert. This module does not import
torch, so that light commands can use it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

if TYPE_CHECKING:  # annotations only
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    Array = TypeVar("Array", Tensor, NDArray[np.floating[Any]])

JointOrder = Literal["freihand", "ait", "mano", "interhand", "rhd"]

NUM_JOINTS: Final = 21
FINGERS: Final = ("thumb", "index", "middle", "ring", "little")
# From the palm outwards. The thumb's four, CMC, MCP, IP and tip in anatomy, go by the names of a finger's.
PARTS: Final = ("mcp", "pip", "dip", "tip")

_MANO_FINGERS: Final = ("index", "middle", "little", "ring", "thumb")

# freihand: FreiHAND and most 2-D detectors, finger by finger, palm outwards.
# ait: the published PeCLR code, ring by ring: all MCP, all PIP, all DIP, all tips.
# mano: the 16 joints of the MANO model as its files list them, then the five tips, vertices of its mesh.
# interhand: one hand of InterHand2.6M, finger by finger, tip inwards, the wrist last.
# rhd: one hand of RHD, the wrist, then finger by finger, tip inwards.
_ORDERS: Final[dict[str, tuple[str, ...]]] = {
    "freihand": ("wrist", *(f"{finger}_{part}" for finger in FINGERS for part in PARTS)),
    "ait": ("wrist", *(f"{finger}_{part}" for part in PARTS for finger in FINGERS)),
    "mano": (
        "wrist",
        *(f"{finger}_{part}" for finger in _MANO_FINGERS for part in PARTS[:3]),
        *(f"{finger}_tip" for finger in FINGERS),
    ),
    "interhand": (*(f"{finger}_{part}" for finger in FINGERS for part in reversed(PARTS)), "wrist"),
    "rhd": ("wrist", *(f"{finger}_{part}" for finger in FINGERS for part in reversed(PARTS))),
}

# All indices from here on are in order freihand.
JOINT_NAMES: Final = _ORDERS["freihand"]
WRIST: Final = JOINT_NAMES.index("wrist")
MIDDLE_MCP: Final = JOINT_NAMES.index("middle_mcp")
MIDDLE_PIP: Final = JOINT_NAMES.index("middle_pip")
TIPS: Final = tuple(JOINT_NAMES.index(f"{finger}_tip") for finger in FINGERS)

# FreiHAND's `scale` is the length of this bone: |xyz[9] − xyz[10]|.
SCALE_BONE: Final = (MIDDLE_MCP, MIDDLE_PIP)

# The vertices of the MANO mesh that serve as finger tips, in the order of FINGERS.
FINGER_TIP_VERTICES: Final = (744, 320, 443, 555, 672)

# RGB, apart for color-blind eyes: Okabe & Ito, "Color Universal Design", 2008.
FINGER_COLORS: Final[dict[str, tuple[int, int, int]]] = {
    "thumb": (213, 94, 0),
    "index": (240, 228, 66),
    "middle": (0, 158, 115),
    "ring": (86, 180, 233),
    "little": (204, 121, 167),
}


def _finger_bones(finger: str) -> tuple[tuple[int, int], ...]:
    chain = ("wrist", *(f"{finger}_{part}" for part in PARTS))
    return tuple((JOINT_NAMES.index(a), JOINT_NAMES.index(b)) for a, b in pairwise(chain))


# (parent, child), finger by finger from the wrist to the tip, and the color in which each bone is drawn.
BONES: Final = tuple(bone for finger in FINGERS for bone in _finger_bones(finger))
BONE_COLORS: Final = tuple(FINGER_COLORS[finger] for finger in FINGERS for _ in _finger_bones(finger))


def _names(order: JointOrder) -> tuple[str, ...]:
    if order not in _ORDERS:
        raise ValueError(f"unknown joint order {order!r}; expected one of {', '.join(_ORDERS)}")
    return _ORDERS[order]


def joint_index(name: str, order: JointOrder = "freihand") -> int:
    """The index of joint `name`, one of JOINT_NAMES, in `order`."""
    if name not in JOINT_NAMES:
        raise ValueError(f"unknown joint {name!r}; expected one of {', '.join(JOINT_NAMES)}")
    return _names(order).index(name)


def permutation(src: JointOrder, dst: JointOrder) -> tuple[int, ...]:
    """Indices such that `joints_dst = joints_src[permutation]`."""
    names = _names(src)
    return tuple(names.index(name) for name in _names(dst))


def convert(joints: Array, src: JointOrder, dst: JointOrder) -> Array:
    """Reorder `joints` (…, 21, D), a tensor or an array, from order `src` to order `dst`."""
    _check_joints(joints.shape)
    order = list(permutation(src, dst))
    if not hasattr(joints, "unbind"):  # an array
        return joints[..., order, :]
    import torch

    if torch.compiler.is_exporting():  # one node of a graph, not 63
        return joints[..., order, :]
    each: Any = joints.unbind(-2)  # a list of indices would be copied to the device, for which the host waits
    return torch.stack([each[index] for index in order], dim=-2)  # type: ignore[return-value]  # a tensor


def palm_from_wrist(joints: Tensor, order: JointOrder) -> Tensor:
    """Put the palm, half-way between wrist and middle MCP, in the wrist's place: (…, 21, D) → (…, 21, D)."""
    _check_joints(joints.shape)
    middle = joints[..., joint_index("middle_mcp", order), :]
    return _with_wrist(joints, order, (joints[..., joint_index("wrist", order), :] + middle) / 2)


def wrist_from_palm(joints: Tensor, order: JointOrder) -> Tensor:
    """Undo `palm_from_wrist`: wrist = 2 · palm − middle MCP, for (…, 21, D)."""
    _check_joints(joints.shape)
    middle = joints[..., joint_index("middle_mcp", order), :]
    return _with_wrist(joints, order, 2 * joints[..., joint_index("wrist", order), :] - middle)


def _with_wrist(joints: Tensor, order: JointOrder, value: Tensor) -> Tensor:
    replaced = joints.clone()
    replaced[..., joint_index("wrist", order), :] = value
    return replaced


def _check_joints(shape: tuple[int, ...]) -> None:
    if len(shape) < 2 or shape[-2] != NUM_JOINTS:
        raise ValueError(f"expected joints (…, {NUM_JOINTS}, D), got shape {tuple(shape)}")
