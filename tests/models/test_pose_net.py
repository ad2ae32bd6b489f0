"""The pose network: parity with the published one, and the geometry that it promises."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from peclr.geometry.affine import rotation, translation
from peclr.geometry.camera import project
from peclr.models.encoders import ResNetEncoder
from peclr.models.pose_net import PoseNet25D, flat_keypoints, targets_from_joints, targets_from_labels

# Written out, not imported: order ait lists rings of joints, order freihand lists fingers.
FREIHAND_FROM_AIT = [0, *(1 + finger + 5 * part for finger in range(5) for part in range(4))]
MIDDLE_MCP_AIT = 3

# The camera of 224 × 224 px views which the published network falls back to. Least squares on what it predicts
# (`kp3d_default_K` of its reference vectors) give these digits.
DEFAULT_K = torch.tensor([[388.9018, 0.0, 112.0], [0.0, 388.7123, 112.0], [0.0, 0.0, 1.0]])


def random_hands(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Point clouds of a hand's size (count, 21, 3), metres, and cameras of rotated 64 px views."""
    generator = torch.Generator().manual_seed(seed)
    joints = torch.randn(count, 21, 3, generator=generator, dtype=torch.float64) * 0.04
    joints[..., 2] += 0.6
    # the bone that sets the scale lies across the view, where its depth is the larger root of the quadratic
    joints[:, 10] = joints[:, 9] + torch.tensor([0.02, -0.02, 0.001])
    focal = 150 + 100 * torch.rand(count, generator=generator, dtype=torch.float64)
    K = torch.zeros(count, 3, 3, dtype=torch.float64)
    K[:, 0, 0], K[:, 1, 1], K[:, 2, 2] = focal, focal * 1.02, 1.0
    angle = torch.rand(count, generator=generator, dtype=torch.float64)
    return joints, translation(torch.full((2,), 31.5, dtype=torch.float64)) @ rotation(angle) @ K


def tiny_net(seed: int = 0) -> PoseNet25D:
    torch.manual_seed(seed)
    return PoseNet25D(ResNetEncoder("resnet18", 0.125))


def oracle(joints_3d: Tensor, K: Tensor) -> PoseNet25D:
    """A network that regresses this one hand (21, 3), metres, whatever it sees, without refinement."""
    network = tiny_net().init_for(64).double().eval()
    targets = targets_from_joints(joints_3d[None], K[None])
    joints_25d = torch.cat((targets["keypoints_2d"][0], targets["depth_rel"][0, :, None]), dim=-1)
    with torch.no_grad():
        network.backend_model.fc.weight.zero_()
        network.backend_model.fc.bias[:63] = joints_25d.flatten()
    return network


def test_state_dict_has_the_published_keys_and_shapes(reference: Path) -> None:
    shapes = json.loads((reference / "pose_net_rn50_state_dict.json").read_text())
    with torch.device("meta"):
        network = PoseNet25D(ResNetEncoder("resnet50"))
    assert {key: list(value.shape) for key, value in network.state_dict().items()} == shapes


def test_predictions_are_the_published_networks(published: PoseNet25D, reference: Path) -> None:
    vectors = np.load(reference / "pose_net_rn50.npz")
    rng = np.random.default_rng(int(vectors["seed"]))
    image = torch.from_numpy(rng.standard_normal((4, 3, 224, 224)).astype(np.float32))
    cameras = {"kp3d": torch.from_numpy(vectors["K"]), "kp3d_default_K": DEFAULT_K.expand(4, 3, 3)}
    for name, K in cameras.items():
        with torch.no_grad():
            output = published(image, K)
        expected = torch.from_numpy(vectors[name])
        wrist = 2 * expected[:, 0] - expected[:, MIDDLE_MCP_AIT]
        expected = torch.cat((wrist[:, None], expected[:, FREIHAND_FROM_AIT[1:]]), dim=1)
        torch.testing.assert_close(output["joints_3d"], expected, rtol=0, atol=1e-4 * expected.abs().max().item())
        kp25d = torch.from_numpy(vectors["kp25d"])
        raw = torch.cat((output["raw"]["keypoints_2d"], output["raw"]["depth_rel"][..., None]), dim=-1)
        torch.testing.assert_close(raw[..., :2], kp25d[..., :2], rtol=0, atol=1e-4 * 224)
        torch.testing.assert_close(raw[..., 2], kp25d[..., 2], rtol=0, atol=1e-4)
        torch.testing.assert_close(output["raw"]["root_depth"], torch.from_numpy(vectors[name][:, 0, 2]))
        torch.testing.assert_close(
            output["keypoints_2d"][:, 1:], kp25d[:, FREIHAND_FROM_AIT[1:], :2], rtol=0, atol=1e-4 * 224
        )


def test_perfect_regression_gives_the_hand_back() -> None:
    joints, cameras = random_hands(3)
    for joints_3d, K in zip(joints, cameras, strict=True):
        with torch.no_grad():
            output = oracle(joints_3d, K)(torch.zeros(2, 3, 32, 32, dtype=torch.float64), K.expand(2, 3, 3))
        scale = torch.linalg.vector_norm(joints_3d[9] - joints_3d[10])
        palm_depth = (joints_3d[0, 2] + joints_3d[9, 2]) / 2
        torch.testing.assert_close(output["joints_3d"] * scale, joints_3d.expand(2, 21, 3))
        torch.testing.assert_close(output["keypoints_2d"], project(joints_3d, K).expand(2, 21, 2))
        torch.testing.assert_close(output["depth_rel"][0] * scale, joints_3d[:, 2] - palm_depth)
        torch.testing.assert_close(output["root_depth"][0] * scale, palm_depth)


def test_partial_labels_give_the_targets_of_what_is_known() -> None:
    joints, K = random_hands(4)
    pixels, valid, has_3d = project(joints, K), torch.ones(4, 21, dtype=torch.bool), torch.ones(4, dtype=torch.bool)
    whole, same = targets_from_joints(joints, K), targets_from_labels(joints, pixels, K, valid, has_3d)
    for name in ("keypoints_2d", "depth_rel", "root_depth"):
        assert torch.equal(same[name], whole[name]), name
    assert same["joint_valid"].all()

    has_3d[1] = has_3d[2] = False
    valid[0, 7], valid[1, 3], valid[2, 0] = False, False, False  # of the third, the wrist
    unknown = ~(valid & has_3d[:, None])
    joints[unknown], pixels[~valid] = 0, 0
    some = targets_from_labels(joints, pixels, K, valid, has_3d)
    assert all(value.isfinite().all() for value in some.values())  # type: ignore[attr-defined]
    expected = np.ones((4, 21), bool)
    for hand, joint in ((0, 7), (1, 3), (2, 0)):
        expected[hand, FREIHAND_FROM_AIT[joint]] = False
    assert np.array_equal(some["joint_valid"], expected), "of the palm, wrist and middle MCP are"
    for hand, name in ((0, "keypoints_2d"), (0, "depth_rel"), (3, "keypoints_2d"), (3, "depth_rel")):
        seen = some["joint_valid"][hand]
        assert torch.equal(some[name][hand][seen], whole[name][hand][seen])  # type: ignore[literal-required]
    # without depth the palm is half-way; all other pixels are as they are in space
    torch.testing.assert_close(some["keypoints_2d"][1, 0], (pixels[1, 0] + pixels[1, 9]) / 2)
    seen = some["joint_valid"][1:3, 1:]
    torch.testing.assert_close(some["keypoints_2d"][1:3, 1:][seen], whole["keypoints_2d"][1:3, 1:][seen])
    # and gives the wrist's pixels back
    torch.testing.assert_close(flat_keypoints(some)[1:2], pixels[1:2])


def test_a_palm_without_depth_is_seen_within_two_pixels() -> None:
    """A hand of 19 cm that fills two thirds of a view of 224 px, 60 cm away; its palm turned by any angle in depth."""
    angle = torch.linspace(0, np.pi, 60, dtype=torch.float64)
    joints = torch.zeros(60, 21, 3, dtype=torch.float64)
    joints[:, 9] = 0.09 * torch.stack((angle.cos(), torch.zeros(60), angle.sin()), dim=1)  # middle MCP
    joints[:, 10] = joints[:, 9] + 0.03
    joints[..., 2] += 0.6
    focal = (2 / 3) * 224 / 0.19 * 0.6
    K = torch.tensor([[focal, 0, 112], [0, focal, 112], [0, 0, 1]], dtype=torch.float64).expand(60, 3, 3)
    valid, none = torch.ones(60, 21, dtype=torch.bool), torch.zeros(60, dtype=torch.bool)
    flat = targets_from_labels(joints, project(joints, K), K, valid, none)["keypoints_2d"][:, 0]
    error = (flat - targets_from_joints(joints, K)["keypoints_2d"][:, 0]).norm(dim=-1)
    assert 1 < error.max() < 2


def test_targets_are_palm_rooted_and_in_bone_lengths() -> None:
    joints, K = random_hands(5)
    targets = targets_from_joints(joints, K)
    scale = (joints[:, 9] - joints[:, 10]).norm(dim=-1)
    palm = (joints[:, 0] + joints[:, 9]) / 2
    internal = torch.cat((palm[:, None], joints[:, 1:]), dim=1)
    torch.testing.assert_close(targets["root_depth"], palm[:, 2] / scale)
    assert (targets["depth_rel"][:, 0] == 0).all()
    for ait, freihand in zip(range(21), np.argsort(FREIHAND_FROM_AIT), strict=True):
        torch.testing.assert_close(targets["keypoints_2d"][:, ait], project(internal[:, freihand, None], K)[:, 0])
        torch.testing.assert_close(targets["depth_rel"][:, ait], (internal[:, freihand, 2] - palm[:, 2]) / scale)


@pytest.mark.parametrize(("metres", "bone_lengths"), [(0.06, 4.0), (6.0, 50.0)])
def test_closed_form_depth_stays_within_the_published_range(metres: float, bone_lengths: float) -> None:
    joints, K = random_hands(1)
    joints[..., 2] = metres + (joints[..., 2] - 0.6) / 10
    joints[:, 10] = joints[:, 9] + torch.tensor([0.0, -0.03, 0.0])
    output = oracle(joints[0], K[0])(torch.zeros(1, 3, 32, 32, dtype=torch.float64), K)
    assert output["root_depth_closed_form"].item() == bone_lengths


def test_gradients_reach_everything_but_the_closed_form() -> None:
    network = tiny_net().train()
    _, K = random_hands(4)
    output = network(torch.randn(4, 3, 32, 32), K.float())
    assert not output["root_depth_closed_form"].requires_grad
    output["joints_3d"].square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        if parameter.ndim > 1:  # BatchNorm takes away the effect of a bias before it
            assert parameter.grad.any(), name


def test_root_depth_alone_trains_the_refinement() -> None:
    network = tiny_net().init_for(32).train()
    _, K = random_hands(4)
    network(torch.randn(4, 3, 32, 32), K.float())["raw"]["root_depth"].sum().backward()
    gradients = [parameter.grad for parameter in network.zroot_ref.zroot_ref[-1].parameters()]
    assert all(gradient is not None and gradient.any() for gradient in gradients)


def test_last_layer_and_geometry_keep_their_precision_under_autocast() -> None:
    network = tiny_net().init_for(64).eval()
    images = torch.randn(3, 3, 64, 64)
    _, K = random_hands(3)
    with torch.no_grad():
        with torch.autocast("cpu", torch.bfloat16):
            output = network(images, K.float())
            features = network.backend_model(images)
        expected = torch.nn.functional.linear(features.float(), *network.backend_model.fc.parameters())
    assert features.dtype == torch.bfloat16
    assert output["joints_3d"].dtype == torch.float32
    torch.testing.assert_close(output["raw"]["keypoints_2d"], expected[:, :63].reshape(-1, 21, 3)[..., :2])
    torch.testing.assert_close(project(output["joints_3d"], K.float()), output["keypoints_2d"], rtol=0, atol=1e-3)


@pytest.mark.parametrize("view_size", [64, 224])
def test_training_starts_in_the_middle_of_the_view(view_size: int) -> None:
    network = tiny_net().init_for(view_size).eval()
    K = torch.tensor([[500.0, 0, 112], [0, 500, 112], [0, 0, 1]]).expand(3, 3, 3)
    with torch.no_grad():
        output = network(torch.randn(3, 3, 64, 64), K)
    middle = torch.full((3, 21, 2), (view_size - 1) / 2)
    torch.testing.assert_close(output["raw"]["keypoints_2d"], middle, rtol=0, atol=10.0)
    assert output["raw"]["depth_rel"].abs().max() < 10
    torch.testing.assert_close(output["root_depth"], output["root_depth_closed_form"])
    assert output["joints_3d"].isfinite().all()


def test_a_hand_does_not_depend_on_its_batch() -> None:
    network = tiny_net().init_for(64).eval()
    images = torch.randn(5, 3, 64, 64)
    K = random_hands(5)[1].float()
    with torch.no_grad():
        together = network(images, K)["joints_3d"]
        alone = torch.cat([network(images[i : i + 1], K[i : i + 1])["joints_3d"] for i in range(5)])
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-4)


def test_frozen_encoder_does_not_move() -> None:
    network = tiny_net().freeze_encoder().train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=1e-3)
    K = random_hands(4)[1].float()
    network(torch.randn(4, 3, 32, 32), K)["joints_3d"].square().mean().backward()
    optimizer.step()
    moved = {key for key, value in network.state_dict().items() if not torch.equal(value, before[key])}
    head = {key for key in before if key.startswith(("backend_model.fc.", "zroot_ref."))}
    assert moved <= head
    assert {"backend_model.fc.weight", "zroot_ref.zroot_ref.0.weight"} <= moved
    assert not network.backend_model.layer1.training
    assert network.zroot_ref.training
