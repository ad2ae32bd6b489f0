"""Joint orders against tables written out by hand, bones, colors, palm and wrist."""

import itertools
from typing import get_args

import numpy as np
import pytest
import torch

from peclr.geometry import joints
from peclr.geometry.joints import BONES, FINGERS, JOINT_NAMES, NUM_JOINTS, JointOrder, convert, permutation

ORDERS: tuple[JointOrder, ...] = get_args(JointOrder)
PAIRS = list(itertools.product(ORDERS, ORDERS))

# For every joint in order freihand, where the other order has it. Written out, not derived.
# fmt: off
POSITIONS: dict[JointOrder, list[int]] = {
    "ait": [0,  1, 6, 11, 16,  2, 7, 12, 17,  3, 8, 13, 18,  4, 9, 14, 19,  5, 10, 15, 20],
    "mano": [0,  13, 14, 15, 16,  1, 2, 3, 17,  4, 5, 6, 18,  10, 11, 12, 19,  7, 8, 9, 20],
    "interhand": [20,  3, 2, 1, 0,  7, 6, 5, 4,  11, 10, 9, 8,  15, 14, 13, 12,  19, 18, 17, 16],
}
# fmt: on


@pytest.mark.parametrize("order", POSITIONS)
def test_orders_agree_with_the_tables(order: JointOrder) -> None:
    assert list(permutation(order, "freihand")) == POSITIONS[order]
    assert [joints.joint_index(name, order) for name in JOINT_NAMES] == POSITIONS[order]


@pytest.mark.parametrize(("src", "dst"), PAIRS)
def test_every_conversion_can_be_undone(src: JointOrder, dst: JointOrder) -> None:
    hand = torch.randn(2, NUM_JOINTS, 3)
    assert sorted(permutation(src, dst)) == list(range(NUM_JOINTS))
    assert torch.equal(convert(convert(hand, src, dst), dst, src), hand)
    via = convert(convert(hand, src, "freihand"), "freihand", dst)
    assert torch.equal(convert(hand, src, dst), via)
    converted = convert(hand.numpy(), src, dst)  # an array, likewise
    assert isinstance(converted, np.ndarray)
    np.testing.assert_array_equal(converted, convert(hand, src, dst).numpy())


def test_named_joints_are_where_freihand_has_them() -> None:
    assert (joints.WRIST, joints.MIDDLE_MCP, joints.MIDDLE_PIP) == (0, 9, 10)
    assert joints.SCALE_BONE == (9, 10)
    assert joints.TIPS == (4, 8, 12, 16, 20)
    assert [JOINT_NAMES[tip] for tip in joints.TIPS] == [f"{finger}_tip" for finger in FINGERS]
    assert len(joints.FINGER_TIP_VERTICES) == len(FINGERS)


def test_bones_are_a_tree_on_the_wrist() -> None:
    children = [child for _, child in BONES]
    assert sorted(children) == list(range(1, NUM_JOINTS))
    reached = {joints.WRIST}
    for parent, child in BONES:  # parents come first
        assert parent in reached
        reached.add(child)


def test_a_bone_has_the_color_of_its_finger() -> None:
    assert len(set(joints.FINGER_COLORS.values())) == len(FINGERS)
    for (parent, child), color in zip(BONES, joints.BONE_COLORS, strict=True):
        finger = JOINT_NAMES[child].split("_")[0]
        assert joints.FINGER_COLORS[finger] == color
        assert JOINT_NAMES[parent].split("_")[0] in ("wrist", finger)


@pytest.mark.parametrize("order", ORDERS)
def test_palm_and_wrist_undo_each_other(order: JointOrder) -> None:
    hand = torch.randn(5, NUM_JOINTS, 3, dtype=torch.float64)
    before = hand.clone()
    palm = joints.palm_from_wrist(hand, order)
    wrist, middle = joints.joint_index("wrist", order), joints.joint_index("middle_mcp", order)
    torch.testing.assert_close(palm[:, wrist], (hand[:, wrist] + hand[:, middle]) / 2)
    torch.testing.assert_close(joints.wrist_from_palm(palm, order), hand)
    assert torch.equal(hand, before)
    others = [i for i in range(NUM_JOINTS) if i != wrist]
    assert torch.equal(palm[:, others], hand[:, others])


def test_palm_does_not_depend_on_the_order_it_is_taken_in() -> None:
    hand = torch.randn(3, NUM_JOINTS, 2)
    in_ait = joints.palm_from_wrist(convert(hand, "freihand", "ait"), "ait")
    torch.testing.assert_close(convert(in_ait, "ait", "freihand"), joints.palm_from_wrist(hand, "freihand"))


def test_palm_and_wrist_are_differentiable() -> None:
    hand = torch.randn(1, NUM_JOINTS, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda joint: joints.palm_from_wrist(joint, "freihand"), hand)
    assert torch.autograd.gradcheck(lambda joint: joints.wrist_from_palm(joint, "freihand"), hand)


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="unknown joint order 'coco'; expected one of freihand, ait, mano, interhand"):
        permutation("coco", "mano")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'coco'"):
        convert(torch.zeros(21, 3), "coco", "ait")  # type: ignore[arg-type]  # what a user may type
    with pytest.raises(ValueError, match="unknown joint 'palm'"):
        joints.joint_index("palm")


@pytest.mark.parametrize("shape", [(20, 3), (21,), (21, 3, 1)])
def test_other_numbers_of_joints_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected joints \(…, 21, D\), got shape"):
        convert(torch.zeros(shape), "ait", "freihand")
