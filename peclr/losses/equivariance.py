"""PeCLR's inversion: undo a view's translation and rotation on its projection.

Spurr et al., "Self-Supervised 3D Hand Pose Estimation from monocular RGB via Contrastive Learning", ICCV 2021
(arXiv 2106.05953). A projection is read as points in the plane of the view. The points of an equivariant
encoder move with the image, and moving them back makes two views agree. Scale is left to L2-normalization.
"""

from torch import Tensor

from peclr.geometry.affine import apply_affine, at_least_float32, rotation


def undo_translation_rotation(points: Tensor, translation: Tensor, angle: Tensor) -> Tensor:
    """Undo a view's translation, then its rotation about the points' mean: the published inversion.

    Points come in no particular unit, so the translation is taken as a fraction of their own range per axis, as if they
    just filled the view. Range and mean are constants to the gradient. The result is at least float32.

    Args:
        points: (N, P, 2), any unit.
        translation: (N, 2), by how much the view moved its content right and down, as a fraction of the view.
        angle: (N,), by how much the view turned its content, radians, OpenCV sign.
    """
    n = points.shape[0]
    if points.ndim != 3 or points.shape[2] != 2 or translation.shape != (n, 2) or angle.shape != (n,):
        found = [tuple(tensor.shape) for tensor in (points, translation, angle)]
        raise ValueError(f"expected points (N, P, 2), translation (N, 2), angle (N,); got {found}")
    points = at_least_float32(points)
    extent = (points.amax(dim=1) - points.amin(dim=1)).detach()
    points = points - (translation * extent)[:, None]
    center = points.mean(dim=1, keepdim=True).detach()
    return apply_affine(rotation(-angle), points - center) + center
