"""The published two-pass crop: look at the middle of the picture, then at the hand that was found there.

Parity with the published test-time protocol is tested on its reference vectors. Both passes and given boxes go
by one rule, `view_from_box`. Like `peclr.data.views.geometric`, matrices are NumPy's: a torch operation on nine numbers
costs as much as all of this.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from peclr.data.views.geometric import Matrix, warp
from peclr.models.encoders import normalise_images
from peclr.models.pose_net import PoseNet25D, PoseOutput

Box = NDArray[np.float64]

# Both of the published test-time protocol.
CENTRAL_FRACTION = 0.33  # of the picture's sides: where the first pass takes the hand to be
FILL = 0.7  # of the view's side: what the longer side of a box takes up


class TwoPassOutput(NamedTuple):
    """What the second pass predicts, and where both passes looked.

    Attributes:
        output: of the network, in pixels of the second views.
        first_view_from_image: (B, 3, 3), float64, view pixels ← image pixels, of the first pass.
        view_from_image: the same of the second pass.
    """

    output: PoseOutput
    first_view_from_image: Tensor
    view_from_image: Tensor


def central_box(image: NDArray[np.uint8]) -> Box:
    """The box (4,) px that the first pass takes for the hand: the central 0.33 of an image (H, W, 3)."""
    height, width = image.shape[:2]
    centre = np.array([width, height]) / 2
    half = CENTRAL_FRACTION * centre
    return np.concatenate((centre - half, centre + half))


def view_from_box(box: ArrayLike, view_size: int) -> Matrix:
    """Centre a box in a view and scale its longer side to 0.7 of the view's.

    The published rule takes centres of boxes to `view_size / 2`, half a pixel right and below the centre of the
    view by this project's convention; the networks have learnt with it.

    Args:
        box: (4,), left, top, right, bottom, pixels of the image.
        view_size: side of the view, pixels.

    Returns:
        (3, 3), view pixels ← image pixels.

    Raises:
        ValueError: the box is empty or not finite.
    """
    left, top, right, bottom = np.asarray(box, np.float64).tolist()
    side = max(right - left, bottom - top)
    if not (np.isfinite([left, top, right, bottom]).all() and right >= left and bottom >= top and side > 0):
        raise ValueError(f"expected a finite box with left < right, top < bottom: {[left, top, right, bottom]}")
    scale = FILL * view_size / side
    shift_x = view_size / 2 - scale * (left + right) / 2
    shift_y = view_size / 2 - scale * (top + bottom) / 2
    return np.array([[scale, 0, shift_x], [0, scale, shift_y], [0, 0, 1]], np.float64)


def box_of_keypoints(keypoints_2d: NDArray[np.floating], view_from_image: Matrix) -> Box:
    """The box in the image of the keypoints that the first pass found.

    Args:
        keypoints_2d: (21, 2), pixels of the view, as the network regressed them: with the palm, not the wrist.
        view_from_image: (3, 3), of the first pass; without rotation.

    Returns:
        (4,), pixels of the image; at least one pixel of the view wide and high.

    """
    # the published code cuts the fractions off
    low, high = np.trunc(keypoints_2d.min(axis=0)), np.trunc(keypoints_2d.max(axis=0))
    high = np.maximum(high, low + 1)
    scale, shift = view_from_image[[0, 1], [0, 1]], view_from_image[:2, 2]
    return np.concatenate(((low - shift) / scale, (high - shift) / scale))


def run_network(network: PoseNet25D, views: Sequence[NDArray[np.uint8]], K: Sequence[Matrix]) -> PoseOutput:
    """One forward pass, on the network's device, without gradients.

    Args:
        network: in evaluation mode.
        views: B images (S, S, 3), RGB.
        K: B cameras (3, 3) of these views, pixels.

    Returns:
        Of B hands, on the CPU.

    Raises:
        ValueError: the network predicts something that is not finite.
    """
    device = next(network.parameters()).device
    with torch.inference_mode():
        # (B, S, S, 3) seen as (B, 3, S, S) is what PyTorch calls channels_last: convolutions are faster
        images = torch.from_numpy(np.stack(views)).to(device).permute(0, 3, 1, 2)
        cameras = torch.from_numpy(np.stack(K)).to(device, torch.float32)
        output: PoseOutput = _on_cpu(network(normalise_images(images), cameras))
    if not (output["keypoints_2d"].isfinite().all() and output["joints_3d"].isfinite().all()):
        raise ValueError("the network predicts joints that are not finite; have its weights diverged?")
    return output


def predict_two_pass(
    network: PoseNet25D, images: Sequence[NDArray[np.uint8]], K: ArrayLike, view_size: int
) -> TwoPassOutput:
    """Predict a batch of right hands that are somewhere in the middle of their images.

    Args:
        network: in evaluation mode.
        images: B images (H, W, 3), RGB, of any sizes.
        K: (B, 3, 3), cameras of the images, pixels.
        view_size: side of the views that the network was trained on, pixels.
    """
    cameras = np.asarray(K, np.float64)
    firsts = [view_from_box(central_box(image), view_size) for image in images]
    found = _look(network, images, firsts, cameras, view_size)["raw"]["keypoints_2d"].numpy()
    boxes = [box_of_keypoints(points, first) for points, first in zip(found, firsts, strict=True)]
    seconds = [view_from_box(box, view_size) for box in boxes]
    output = _look(network, images, seconds, cameras, view_size)
    return TwoPassOutput(output, torch.from_numpy(np.stack(firsts)), torch.from_numpy(np.stack(seconds)))


def _look(
    network: PoseNet25D,
    images: Sequence[NDArray[np.uint8]],
    matrices: Sequence[Matrix],
    K: NDArray[np.float64],
    view_size: int,
) -> PoseOutput:
    views = [warp(image, matrix, view_size) for image, matrix in zip(images, matrices, strict=True)]
    # cameras of crops, as peclr.geometry.camera.crop_camera: 3-D stays in the frame of the image's camera
    return run_network(network, views, [m @ k for m, k in zip(matrices, K, strict=True)])


def _on_cpu(output: PoseOutput) -> PoseOutput:
    raw = output["raw"]
    return PoseOutput(
        raw={
            "keypoints_2d": raw["keypoints_2d"].cpu(),
            "depth_rel": raw["depth_rel"].cpu(),
            "root_depth": raw["root_depth"].cpu(),
        },
        keypoints_2d=output["keypoints_2d"].cpu(),
        depth_rel=output["depth_rel"].cpu(),
        root_depth=output["root_depth"].cpu(),
        root_depth_closed_form=output["root_depth_closed_form"].cpu(),
        joints_3d=output["joints_3d"].cpu(),
    )
