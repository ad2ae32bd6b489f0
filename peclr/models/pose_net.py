"""The 2.5-D pose network: an image and its camera to 21 joints in 3-D, up to the hand's scale.

The published fine-tuning network of PeCLR (Spurr et al., ICCV 2021), whose weights load. It regresses the 2.5-D pose of
Iqbal et al., "Hand Pose Estimation via Latent 2.5D Heatmap Regression", ECCV 2018, and refines the root's depth as
Spurr et al., "Weakly Supervised 3D Hand Pose Estimation via Biomechanical Constraints", ECCV 2020.
"""

from typing import Any, Final, Self, TypedDict

import torch
from torch import Tensor, nn

from peclr.geometry.affine import at_least_float32
from peclr.geometry.camera import back_project, project
from peclr.geometry.joints import NUM_JOINTS, convert, joint_index, palm_from_wrist, wrist_from_palm
from peclr.geometry.pose25d import solve_root_depth, to_25d
from peclr.models.encoders import Encoder

# What the published weights regress: order ait, with the palm in the wrist's place as the root of depth …
_ORDER: Final = "ait"
_PALM = joint_index("wrist", _ORDER)
# … in units of the bone from middle MCP to middle PIP, which FreiHAND's `scale` measures.
_BONE = (joint_index("middle_mcp", _ORDER), joint_index("middle_pip", _ORDER))

# Bone lengths; the published network's. Its reference vectors exercise the lower bound, not the upper.
_ROOT_DEPTH_RANGE = (4.0, 50.0)
_FC_OUTPUTS = 3 * NUM_JOINTS + 1  # the last one is not used, but it is in the published weights


class PalmPose(TypedDict):
    """The regressed pose, which a loss compares: joints in order ait, the palm at index 0."""

    keypoints_2d: Tensor  # (B, 21, 2), pixels of the view
    depth_rel: Tensor  # (B, 21), depth relative to the palm's, bone lengths; 0 for the palm
    root_depth: Tensor  # (B,), depth of the palm, bone lengths; refined where it is a prediction


class PartialTargets(PalmPose):
    """Labels as `PalmPose`; what is not known has any finite value."""

    joint_valid: Tensor  # (B, 21), bool, whether pixels are known, and where those of a hand are, relative depth


class PoseOutput(TypedDict):
    """A prediction in order freihand, the wrist at index 0. Bone lengths times a hand's scale are metres."""

    raw: PalmPose  # the same as the network regressed it, for losses
    keypoints_2d: Tensor  # (B, 21, 2), pixels of the view
    depth_rel: Tensor  # (B, 21), depth relative to the palm's, bone lengths
    root_depth: Tensor  # (B,), depth of the palm, refined, bone lengths
    root_depth_closed_form: Tensor  # (B,), before refinement
    joints_3d: Tensor  # (B, 21, 3), bone lengths, camera frame


class RootDepthRefinement(nn.Module):
    """A correction to the closed-form root depth, which suffers from noise in two joints, by all joints."""

    def __init__(self) -> None:
        super().__init__()
        hidden = 128  # the published width
        self.zroot_ref = nn.Sequential(  # the key of the published weights
            nn.Linear(3 * NUM_JOINTS + 1, hidden),
            nn.BatchNorm1d(hidden),
            nn.LeakyReLU(inplace=True),
            nn.Linear(hidden, hidden),
            nn.BatchNorm1d(hidden),
            nn.LeakyReLU(inplace=True),
            nn.Linear(hidden, 1),
        )

    def forward(self, depth_rel: Tensor, plane: Tensor, closed_form: Tensor) -> Tensor:
        """Refine root depths (B,) by relative depth (B, 21), in bone lengths, and x and y at depth one (B, 21, 2)."""
        pose = torch.cat((depth_rel, plane.flatten(1), closed_form[:, None]), dim=1)
        correction: Tensor = self.zroot_ref(pose)
        return closed_form + correction[:, 0]


class PoseNet25D(nn.Module):
    """From an image and its camera to 2-D keypoints, relative depth, root depth and 3-D joints.

    Pixels are those of the views it was trained on, and K is the camera of such a view. The last layer and all geometry
    run in float32 under autocast: bfloat16 has steps of half a pixel at 100 px, and the quadratic cancels.

    Args:
        encoder: becomes part of the network, which gives it a last layer `fc`, as a ResNet's is called.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        if getattr(getattr(encoder, "fc", None), "out_features", _FC_OUTPUTS) != _FC_OUTPUTS:
            raise ValueError(f"{encoder.description} has an `fc` of its own, where a pose network puts its last layer")
        # the keys of the published weights, and of the next
        self.backend_model: Any = encoder  # an `Encoder`, and its `fc`
        self.backend_model.fc = nn.Linear(encoder.feature_dim, _FC_OUTPUTS)
        self.zroot_ref = RootDepthRefinement()
        self._encoder_frozen = False

    def forward(self, image: Tensor, K: Tensor) -> PoseOutput:
        """Predict right hands of normalized images (B, 3, S, S), seen by cameras (B, 3, 3), pixels of these views."""
        features: Tensor = self.backend_model(image)
        with torch.autocast(features.device.type, enabled=False):
            outputs: Tensor = self.backend_model.fc(at_least_float32(features))
            regressed = outputs[:, : 3 * NUM_JOINTS].reshape(-1, NUM_JOINTS, 3)
            # the palm's own relative depth is 0, whatever its output says
            is_palm = torch.arange(NUM_JOINTS, device=regressed.device) == _PALM
            keypoints_2d, depth_rel = regressed[..., :2], regressed[..., 2].masked_fill(is_palm, 0.0)
            joints_25d = torch.cat((keypoints_2d, depth_rel[..., None]), dim=-1)
            # detached: its gradient explodes where the bone points at the camera
            closed_form = solve_root_depth(joints_25d, K, _BONE).clamp(*_ROOT_DEPTH_RANGE).detach()
            rays = back_project(keypoints_2d, torch.ones_like(depth_rel), K)
            refined = self.zroot_ref(depth_rel, rays[..., :2], closed_form)
            palm_3d = rays * (depth_rel + refined[:, None])[..., None]
            joints_3d = convert(wrist_from_palm(palm_3d, _ORDER), _ORDER, "freihand")
            # joint 0 is the wrist in both orders; the other joints keep the pixels that were regressed
            wrist_2d = project(joints_3d[:, :1], K)
            return PoseOutput(
                raw=PalmPose(keypoints_2d=keypoints_2d, depth_rel=depth_rel, root_depth=refined),
                keypoints_2d=torch.cat((wrist_2d, convert(keypoints_2d, _ORDER, "freihand")[:, 1:]), dim=1),
                depth_rel=joints_3d[..., 2] - refined[:, None],
                root_depth=refined,
                root_depth_closed_form=closed_form,
                joints_3d=joints_3d,
            )

    @torch.no_grad()
    def init_for(self, view_size: int) -> Self:
        """Start an untrained head with all joints at the middle of a view, not on pixel (0, 0), and no refinement."""
        center = (view_size - 1) / 2
        bias = self.backend_model.fc.bias
        bias.copy_(torch.cat((bias.new_tensor([center, center, 0.0]).repeat(NUM_JOINTS), bias.new_zeros(1))))
        for parameter in self.zroot_ref.zroot_ref[-1].parameters():
            nn.init.zeros_(parameter)
        return self

    @torch.no_grad()
    def start_at(self, weight: Tensor, bias: Tensor) -> None:
        """Set what the last layer regresses, u, v and depth of each joint as `raw`: weight (63, F) and bias (63,)."""
        fc = self.backend_model.fc
        fc.weight[: len(weight)], fc.bias[: len(bias)] = weight.to(fc.weight), bias.to(fc.bias)

    def head_parameters(self) -> list[nn.Parameter]:
        """All parameters that are not the encoder's."""
        return [*self.backend_model.fc.parameters(), *self.zroot_ref.parameters()]

    def freeze_encoder(self) -> Self:
        """Train the head alone: the encoder's weights and BatchNorm statistics stay as they are."""
        self._encoder_frozen = True
        self.backend_model.requires_grad_(requires_grad=False)
        self.backend_model.fc.requires_grad_(requires_grad=True)
        return self.train(self.training)

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002 (torch's signature)
        """Switch between training and evaluation; a frozen encoder stays in evaluation."""
        super().train(mode)
        if self._encoder_frozen:
            self.backend_model.eval()
        return self


@torch.no_grad()
def targets_from_joints(joints_3d: Tensor, K: Tensor) -> PalmPose:
    """Labels in the network's own terms, of joints (B, 21, 3), metres, camera frame, order freihand with the wrist."""
    palm_3d = palm_from_wrist(convert(joints_3d, "freihand", _ORDER), _ORDER)
    joints_25d, scale = to_25d(palm_3d, K, root=_PALM, bone=_BONE)
    return PalmPose(
        keypoints_2d=joints_25d[..., :2],
        depth_rel=joints_25d[..., 2],
        root_depth=palm_3d[..., _PALM, 2] / scale,
    )


@torch.no_grad()
def targets_from_labels(
    joints_3d: Tensor, joints_2d: Tensor, K: Tensor, joint_valid: Tensor, has_3d: Tensor
) -> PartialTargets:
    """Labels of which not all are known in the network's own terms, from those of a `LabeledBatch`; all finite.

    Without depths, the palm is taken to be seen half-way between wrist and middle MCP, as if these were equally far;
    of a hand 60 cm away in a view of 224 px, that is less than 2 px off.
    """
    known = joint_valid & has_3d[:, None]
    # any hand whose joints are apart and in front of the camera
    place = torch.arange(NUM_JOINTS, dtype=joints_3d.dtype, device=joints_3d.device)
    stand_in = torch.stack((place, torch.ones_like(place), torch.ones_like(place)), dim=-1)
    targets = targets_from_joints(torch.where(known[..., None], joints_3d, stand_in), K)
    flat = palm_from_wrist(convert(joints_2d, "freihand", _ORDER), _ORDER)
    valid = convert(joint_valid[..., None], "freihand", _ORDER)[..., 0]
    middle = valid[:, _BONE[0], None]  # the palm is half of it
    return PartialTargets(
        keypoints_2d=torch.where(has_3d[:, None, None], targets["keypoints_2d"], flat),
        depth_rel=targets["depth_rel"],
        root_depth=targets["root_depth"],
        joint_valid=torch.cat((valid[:, :1] & middle, valid[:, 1:]), dim=1),
    )


def flat_keypoints(regressed: PalmPose) -> Tensor:
    """Keypoints (B, 21, 2), px of the view, order freihand, of hands whose camera nobody knows.

    The wrist is where it is if it is as far as the palm and the middle MCP, as `targets_from_labels` has it; that of
    `PoseOutput` follows depths, which may be anything where nothing taught them, and the camera.
    """
    return convert(wrist_from_palm(regressed["keypoints_2d"], _ORDER), _ORDER, "freihand")


def comparable_keypoints(output: PoseOutput, has_3d: Tensor) -> Tensor:
    """Keypoints (B, 21, 2), px of the view, to hold against labels, of which hands (B,) `has_3d` says have depth."""
    return torch.where(has_3d[:, None, None], output["keypoints_2d"], flat_keypoints(output["raw"]))
