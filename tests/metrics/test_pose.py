"""Training-time scores: the formulas, whatever the batches."""

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_sum

from peclr.geometry.procrustes import similarity_align
from peclr.metrics.freihand import freihand_scores
from peclr.metrics.pose import (
    AUC,
    MeanDistance,
    PoseMetrics,
    TermMeans,
    aligned_errors,
    distances,
    epe_mm,
    pa_epe_mm,
    root_relative_epe_mm,
)

Measure = Callable[[Tensor, Tensor], Tensor]


def lenient(pred: Tensor, true: Tensor) -> Tensor:
    """PA-EPE by the official alignment, which may mirror."""
    return epe_mm(similarity_align(pred, true, allow_reflection=True), true)


def random_hands(count: int = 17, noise: float = 0.015, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Predicted and true joints (count, 21, 3), metres, camera frame."""
    generator = torch.Generator().manual_seed(seed)
    target = 0.04 * torch.randn(count, 21, 3, generator=generator) + torch.tensor([0.0, 0.0, 0.6])
    return target + noise * torch.randn(count, 21, 3, generator=generator), target


@pytest.mark.parametrize(
    ("measure", "formula"),
    [
        (epe_mm, lambda p, t: 1000 * (p - t).norm(dim=-1).mean()),
        (root_relative_epe_mm, lambda p, t: 1000 * ((p - p[:, :1]) - (t - t[:, :1])).norm(dim=-1).mean()),
    ],
)
def test_mean_errors_are_millimetres(measure: Measure, formula: Measure) -> None:
    pred, target = random_hands()
    metric = MeanDistance(measure)
    metric.update(pred, target)
    assert metric.compute().item() == pytest.approx(formula(pred.double(), target.double()).item())


def test_error_2d_is_pixels() -> None:
    metric = MeanDistance(distances)
    metric.update(torch.zeros(2, 21, 2), torch.tensor([3.0, 4.0]).expand(2, 21, 2))
    assert metric.compute().item() == pytest.approx(5)


def test_aligned_and_official_scores_agree_when_mirrors_are_allowed() -> None:
    pred, target = random_hands()
    pred[:5] *= torch.tensor([-1.0, 1.0, 1.0])
    official = freihand_scores(pred.numpy(), target.numpy())
    expected = {
        MeanDistance(epe_mm): 10 * official["xyz_mean3d"],
        MeanDistance(lenient): 10 * official["xyz_al_mean3d"],
        AUC(epe_mm): official["xyz_auc3d"],
        AUC(lenient): official["xyz_al_auc3d"],
    }
    for metric, value in expected.items():
        metric.update(pred, target)
        assert metric.compute().item() == pytest.approx(value, rel=1e-5), type(metric).__name__


def test_a_left_hand_is_no_right_hand() -> None:
    _, target = random_hands()
    mirrored = target * torch.tensor([-1.0, 1.0, 1.0])
    assert lenient(mirrored, target).mean().item() == pytest.approx(0, abs=1e-3)
    assert pa_epe_mm(mirrored, target).mean().item() > 10


def test_aligned_errors_are_what_a_similarity_leaves() -> None:
    pred, target = random_hands(3)
    turn = torch.linalg.qr(torch.randn(3, 3, 3, generator=torch.Generator().manual_seed(1)).double())[0]
    turn = turn * torch.linalg.det(turn)[:, None, None]  # no mirrors
    moved = 2.5 * target.double() @ turn.mT + 0.3
    aligned, errors = aligned_errors(moved, target)
    assert errors.shape == (3, 21)
    assert errors.max() < 1e-2
    torch.testing.assert_close(aligned, target.double(), atol=1e-5, rtol=0)
    aligned, errors = aligned_errors(pred, target)
    torch.testing.assert_close(errors, 1000 * (aligned - target).double().norm(dim=-1))


def test_auc_is_the_mean_over_joints() -> None:
    target = torch.zeros(4, 21, 3)
    pred = target.clone()
    pred[:2, 7, 0] = 0.02
    pred[:, 8, 0] = 1.0
    metric = AUC(epe_mm)
    metric.update(pred, target)
    thresholds = torch.linspace(0, 0.05, 100)
    seventh = torch.trapezoid(torch.where(thresholds < 0.02, 0.5, 1.0), thresholds) / 0.05
    assert metric.compute().item() == pytest.approx((19 + float(seventh)) / 21)  # of the eighth, nothing is within 5 cm


ALL = [
    *(partial(MeanDistance, measure) for measure in (epe_mm, root_relative_epe_mm, pa_epe_mm)),
    *(partial(AUC, measure) for measure in (epe_mm, pa_epe_mm)),
]


@pytest.mark.parametrize("make", ALL)
def test_batches_and_processes_do_not_matter(make: Callable[[], Metric]) -> None:
    pred, target = random_hands(17)
    whole, first, second = make(), make(), make()
    whole.update(pred, target)
    for part in (slice(0, 1), slice(1, 9)):
        first.update(pred[part], target[part])
    second.update(pred[9:], target[9:])
    # what torchmetrics does between processes: every state is a sum
    assert set(first._reductions.values()) == {dim_zero_sum}
    for state in first._defaults:
        setattr(first, state, getattr(first, state) + getattr(second, state))
    torch.testing.assert_close(first.compute(), whole.compute())


def test_sums_over_a_million_joints_do_not_swallow_addends() -> None:
    metric = MeanDistance(epe_mm)
    metric.total += 1e9
    metric.count += 1e9
    pred = torch.zeros(1, 21, 3)
    metric.update(pred, pred + torch.tensor([1e-3, 0, 0]))
    assert metric.total.item() == pytest.approx(1e9 + 21, abs=1e-3)


def test_collection_names_and_routes_its_members() -> None:
    pred, target = random_hands()
    pixels = torch.rand(17, 21, 2)
    scores = PoseMetrics("val/")
    # states that are equal at first must not be merged
    scores.update(target, target, pixels, pixels)
    scores.update(pred, target, pixels, pixels + 1)
    values = scores.compute()
    assert set(values) == {
        "val/error_2d_px",
        "val/epe_mm",
        "val/root_relative_epe_mm",
        "val/pa_epe_mm",
        "val/auc",
        "val/pa_auc",
    }
    assert values["val/error_2d_px"].item() == pytest.approx(math.sqrt(2) / 2, rel=1e-5)
    assert values["val/epe_mm"].item() == pytest.approx(500 * (pred - target).norm(dim=-1).mean().item())
    scores.reset()
    scores.update(target, target, pixels, pixels)
    assert scores.compute()["val/epe_mm"] == 0


@pytest.mark.parametrize("shape", [(4, 20, 3), (21, 3), (3, 21, 3)])
def test_shapes_that_would_broadcast_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected predictions and labels \(B, 21, D\)"):
        epe_mm(torch.zeros(shape), torch.zeros(4, 21, 3))


def test_unknown_joints_count_nowhere() -> None:
    """Each hand as if it had its known joints alone; what the others say does not matter."""
    pred, target = random_hands(6)
    known = torch.rand(6, 21, generator=torch.Generator().manual_seed(3)) < 0.6
    known[:, 0] = True
    known[5] = False  # nothing is known of it
    expected: dict[str, list[Tensor]] = {"epe_mm": [], "root_relative_epe_mm": [], "pa_epe_mm": []}
    for one, true, seen in zip(pred.double(), target.double(), known, strict=True):
        part, whole = one[seen], true[seen]
        expected["epe_mm"] += [1000 * (part - whole).norm(dim=-1)]
        expected["root_relative_epe_mm"] += [1000 * ((part - one[0]) - (whole - true[0])).norm(dim=-1)]
        if len(part):
            expected["pa_epe_mm"] += [1000 * (similarity_align(part, whole) - whole).norm(dim=-1)]
    scores = PoseMetrics("val/")
    pixels = 50 * torch.rand(6, 21, 2)
    noise = torch.where(known[..., None], 0.0, 1e6)
    scores.update(pred, target + noise, pixels, pixels + 1 + noise[..., :2], known, torch.ones(6).bool())
    values = scores.compute()
    assert values["val/error_2d_px"].item() == pytest.approx(math.sqrt(2), rel=1e-4)
    for name, errors in expected.items():
        assert values[f"val/{name}"].item() == pytest.approx(torch.cat(errors).mean().item(), rel=1e-5), name


def test_without_3d_there_are_pixels_alone() -> None:
    pred, target = random_hands(4)
    pixels = torch.rand(4, 21, 2)
    scores = PoseMetrics("test/")
    unknown = torch.zeros(4).bool()
    scores.update(0 * pred, 0 * target, pixels, pixels + 3, torch.ones(4, 21).bool(), unknown)
    assert scores.compute().keys() == {"test/error_2d_px"}
    scores.update(pred, target, pixels, pixels + 3, torch.ones(4, 21).bool(), ~unknown)
    assert len(scores.compute()) == 6
    assert scores.compute()["test/epe_mm"].item() == pytest.approx(
        1000 * (pred - target).norm(dim=-1).mean().item(), rel=1e-5
    )


def test_a_prediction_that_is_no_number_is_not_hidden() -> None:
    pred, target = random_hands(2)
    pixels = torch.rand(2, 21, 2)
    scores = PoseMetrics()
    scores.update(pred, target, pixels * torch.nan, pixels)
    assert scores.compute()["error_2d_px"].isnan()


def test_terms_are_means_over_what_was_known() -> None:
    means = TermMeans(3)
    means.update(torch.tensor([2.0, 0.0, 5.0]), torch.tensor([10.0, 0.0, 1.0]))
    means.update(torch.tensor([4.0, 0.0, 0.0]), torch.tensor([30.0, 0.0, 0.0]))
    values, counts = means.compute()
    assert values.tolist() == [3.5, 0.0, 5.0]
    assert counts.tolist() == [40, 0, 1]
