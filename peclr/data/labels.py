"""The labels of one hand in a view: as much as its data set knows, and masks for the rest."""

from typing import Final, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from peclr.data.samples import HandSample
from peclr.geometry.affine import compose
from peclr.geometry.joints import NUM_JOINTS, SCALE_BONE, WRIST
from peclr.geometry.planar import DEFAULT_FOCAL_RATIO, Matrix, centered_camera, move
from peclr.geometry.pose25d import to_25d

# depth is relative to the wrist, or to the palm between it and the first of the others, in lengths of this bone
_OF_DEPTH: Final = (WRIST, *SCALE_BONE)


class ViewLabels(TypedDict):
    """Labels as `LabeledBatch` has them, of one hand."""

    K: Tensor
    joints_25d: Tensor
    joints_3d: Tensor
    joint_valid: Tensor
    has_3d: Tensor
    scale_m: Tensor


def labels_in_view(sample: HandSample, view_from_image: Matrix) -> ViewLabels:
    """Take labels to a view by its matrix (3, 3), view pixels ← image pixels.

    Without a camera, or without one of the joints by which depth is measured, joints in space count as unknown, and
    those in the image are what there is.
    """
    K = compose(torch.from_numpy(view_from_image), torch.tensor(_camera(sample)).double())
    given, scale_m = sample["joints_3d"], sample["scale_m"]
    joints_3d, joints_25d = torch.full((2, NUM_JOINTS, 3), torch.nan)
    has_3d = given is not None and sample["K"] is not None and bool(np.isfinite(given[list(_OF_DEPTH)]).all())
    if given is not None and has_3d:
        joints_3d = torch.tensor(given)
        joints_25d, bone = to_25d(joints_3d.double(), K, WRIST, SCALE_BONE)
        scale_m = float(bone) if scale_m is None else scale_m
    elif sample["joints_2d"] is not None:
        joints_25d[:, :2] = torch.from_numpy(move(view_from_image, sample["joints_2d"]))
    joint_valid = joints_25d[:, :2].isfinite().all(dim=1)
    known_3d = (joint_valid & has_3d)[:, None]
    depth_too = torch.cat((joint_valid[:, None].expand(-1, 2), known_3d), dim=1)
    return ViewLabels(
        K=K.float(),
        joints_25d=torch.where(depth_too, joints_25d, 0).float(),
        joints_3d=torch.where(known_3d, joints_3d, 0),
        joint_valid=joint_valid,
        has_3d=torch.tensor(has_3d),
        scale_m=torch.tensor(0.0 if scale_m is None else scale_m),
    )


def _camera(sample: HandSample) -> NDArray[np.floating]:
    """(3, 3), px: the image's, or the one that a prediction on an image without one assumes."""
    if sample["K"] is not None:
        return sample["K"]
    height, width = sample["image"].shape[:2]
    if "image_from_decoded" in sample:
        (x, _, _), (_, y, _), _ = sample["image_from_decoded"].tolist()
        width, height = round(width * x), round(height * y)
    return centered_camera(DEFAULT_FOCAL_RATIO * max(width, height), width, height)
