"""Procrustes: the similarity transform that brings one set of points closest to another."""

import torch
from torch import Tensor

from peclr.geometry.affine import at_least_float32, exact_matmul

# The official FreiHAND evaluation adds this to the Frobenius norm; it keeps coinciding points finite.
_NORM_EPS = 1e-8


def similarity_align(points: Tensor, target: Tensor, *, allow_reflection: bool = False) -> Tensor:
    """Move, rotate and scale points (…, P, 3) closest to `target` (…, P, 3) in the least-squares sense.

    Schönemann, "A generalized solution of the orthogonal Procrustes problem", 1966, on centered points of unit
    norm; the proper rotation after Umeyama, 1991. The official FreiHAND scores allow reflections, which turn a right
    hand into a left one. The result is at least float32. Points without extent all land on the target's center.
    Meant for metrics: the gradient of a singular value decomposition is not finite for symmetric point sets.
    """
    if points.shape[-2:] != target.shape[-2:]:
        raise ValueError(f"cannot align points {tuple(points.shape)} to target {tuple(target.shape)}")
    points = _standardize(points)[0]
    target, center, norm = _standardize(target)
    U, S, Vh = torch.linalg.svd(exact_matmul(points.mT, target))
    if not allow_reflection:
        # the smallest singular value pays for the mirror
        sign = torch.linalg.det(exact_matmul(U, Vh)).sign()
        signs = torch.cat((torch.ones_like(S[..., :-1]), sign[..., None]), dim=-1)
        S, Vh = S * signs, Vh * signs[..., :, None]
    scale: Tensor = S.sum(dim=-1)[..., None, None]
    return exact_matmul(points, exact_matmul(U, Vh)) * scale * norm + center


def _standardize(points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Centered points of unit Frobenius norm, their center (…, 1, 3) and their norm (…, 1, 1)."""
    points = at_least_float32(points)
    center = points.mean(dim=-2, keepdim=True)
    centered = points - center
    norm = torch.linalg.vector_norm(centered, dim=(-2, -1), keepdim=True) + _NORM_EPS
    return centered / norm, center, norm
