"""The loss of fine-tuning: its weights, its units, and what extreme predictions do to it."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import l1_loss

from peclr.losses.pose import KnownLabels, PoseLoss

Prediction = tuple[Tensor, Tensor, Tensor]
Target = tuple[Tensor, Tensor]


def labels(b: int = 4, dtype: torch.dtype = torch.float64) -> Target:
    generator = torch.Generator().manual_seed(0)
    uv = 224 * torch.rand(b, 21, 2, generator=generator, dtype=torch.float64)
    depth = torch.randn(b, 21, 1, generator=generator, dtype=torch.float64)
    root = 10 + 20 * torch.rand(b, generator=generator, dtype=torch.float64)
    return torch.cat((uv, depth), dim=-1).to(dtype), root.to(dtype)


def perfect(target: Target) -> Prediction:
    return target[0][..., :2].clone(), target[0][..., 2].clone(), target[1].clone()


def test_a_perfect_prediction_costs_nothing() -> None:
    target = labels()
    assert PoseLoss()(*perfect(target), *target).total == 0


def test_terms_are_mean_errors_in_their_units() -> None:
    target = labels()
    uv, depth, root = perfect(target)
    terms = PoseLoss()(uv + 3, depth - 0.25, root + 2, *target)
    assert [term.item() for term in terms[1:]] == pytest.approx([3, 0.25, 2])
    assert terms.total.item() == pytest.approx(3 + 5 * 0.25 + 2)


def test_equals_sums_written_as_loops() -> None:
    target = labels(3)
    uv, depth, root = (
        values + torch.randn(values.shape, generator=torch.Generator().manual_seed(1)) for values in perfect(target)
    )
    total = 0.0
    for i in range(3):
        for j in range(21):
            total += sum(abs((uv[i, j, k] - target[0][i, j, k]).item()) for k in (0, 1)) / (3 * 21 * 2)
            total += 5 * abs((depth[i, j] - target[0][i, j, 2]).item()) / (3 * 21)
        total += abs((root[i] - target[1][i]).item()) / 3
    assert PoseLoss()(uv, depth, root, *target).total.item() == pytest.approx(total)


def test_weights() -> None:
    target = labels()
    uv, depth, root = perfect(target)
    loss = PoseLoss(keypoints_2d_weight=0.5, depth_weight=2.0, root_weight=0.0)
    assert loss(uv + 1, depth + 1, root + 100, *target).total.item() == pytest.approx(2.5)
    with pytest.raises(ValueError, match=r"must not be negative, got \(1.0, -5.0, 1.0\)"):
        PoseLoss(depth_weight=-5.0)


def test_pixels_count_as_if_views_were_224_px() -> None:
    target = labels()
    uv, depth, root = perfect(target)
    quarter = target[0] * torch.tensor([0.25, 0.25, 1.0])  # the same hands in views of 56 px
    large = PoseLoss()(uv + 8, depth - 0.1, root + 1, *target)
    small = PoseLoss().for_view_size(56)(quarter[..., :2] + 2, depth - 0.1, root + 1, quarter, target[1])
    torch.testing.assert_close(small.total, large.total)
    torch.testing.assert_close(PoseLoss().for_view_size(224)(uv + 8, depth - 0.1, root + 1, *target), large)
    with pytest.raises(ValueError, match="view size 0"):
        PoseLoss().for_view_size(0)


def test_a_wild_root_depth_pulls_no_harder_than_a_near_one() -> None:
    target = labels()
    uv, depth, root = perfect(target)
    pulls = []
    for miss in (0.1, 1e6):
        guess = (root + miss).requires_grad_()
        pulls.append(torch.autograd.grad(PoseLoss()(uv, depth, guess, *target).total, guess)[0])
    torch.testing.assert_close(pulls[0], pulls[1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("magnitude", [0.0, 1e4])
def test_any_magnitude_gives_a_finite_loss_and_gradient(dtype: torch.dtype, magnitude: float) -> None:
    target = labels(dtype=torch.float32)
    prediction = [(magnitude * torch.ones(values.shape)).to(dtype).requires_grad_() for values in perfect(target)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = PoseLoss()(*prediction, *target)
    gradients = torch.autograd.grad(terms.total, prediction)
    assert terms.total.dtype == torch.float32
    assert all(term.isfinite() for term in terms)
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_autocast_does_not_round_pixels() -> None:
    target = labels(dtype=torch.float32)
    uv, depth, root = perfect(target)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = PoseLoss()(uv + 0.01, depth, root, *target)
    assert terms.keypoints_2d.item() == pytest.approx(0.01, rel=1e-2)


@pytest.mark.parametrize("broken", range(3))
def test_shapes_that_would_broadcast_are_refused(broken: int) -> None:
    target = labels()
    prediction = list(perfect(target))
    prediction[broken] = prediction[broken][..., None]
    with pytest.raises(ValueError, match="expected predictions and labels of one batch"):
        PoseLoss()(*prediction, *target)
    with pytest.raises(ValueError, match="expected predictions and labels of one batch"):
        PoseLoss()(*perfect(target), target[0], target[1][:1])


def masked(b: int = 6) -> KnownLabels:
    """Some joints of some hands; of the second, third and fourth no depth; of the last nothing."""
    joints = torch.rand(b, 21, generator=torch.Generator().manual_seed(2)) < 0.7
    joints[-1] = False
    return KnownLabels(joints, torch.tensor([True, False, False, False, True, False][:b]))


def noisy(target: Target, scale: float = 1.0) -> Prediction:
    uv, depth, root = (
        values + scale * torch.randn(values.shape, generator=torch.Generator().manual_seed(1), dtype=values.dtype)
        for values in perfect(target)
    )
    return uv, depth, root


def test_what_is_known_is_averaged_as_loops_do() -> None:
    target, known = labels(6), masked()
    uv, depth, root = noisy(target)
    sums, counts = [0.0, 0.0, 0.0], [0, 0, 0]
    for i in range(6):
        for j in range(21):
            if known.joints[i, j]:
                sums[0] += sum(abs((uv[i, j, k] - target[0][i, j, k]).item()) for k in (0, 1))
                counts[0] += 2
                if known.depth[i]:
                    sums[1] += abs((depth[i, j] - target[0][i, j, 2]).item())
                    counts[1] += 1
        if known.depth[i]:
            sums[2] += abs((root[i] - target[1][i]).item())
            counts[2] += 1
    assert 0 < counts[1] < counts[0] / 2
    means = [value / count for value, count in zip(sums, counts, strict=True)]
    terms = PoseLoss()(uv, depth, root, *target, known)
    assert [term.item() for term in terms] == pytest.approx([means[0] + 5 * means[1] + means[2], *means])


def test_where_all_is_known_nothing_changes() -> None:
    target = labels(5, torch.float32)
    prediction = [values.requires_grad_() for values in noisy(target)]
    uv, depth, root = prediction
    terms = PoseLoss()(*prediction, *target, KnownLabels(torch.ones(5, 21).bool(), torch.ones(5).bool()))
    parts = l1_loss(uv, target[0][..., :2]), l1_loss(depth, target[0][..., 2]), l1_loss(root, target[1])
    before = parts[0] + 5 * parts[1] + parts[2]
    assert torch.equal(terms.total, before)
    assert torch.equal(PoseLoss()(*prediction, *target).total, before)
    for one, other in zip(*(torch.autograd.grad(loss, prediction) for loss in (terms.total, before)), strict=True):
        assert torch.equal(one, other)


def test_what_is_unknown_has_no_gradient() -> None:
    target, known = labels(6, torch.float32), masked()
    prediction = [values.requires_grad_() for values in noisy(target)]
    uv, depth, root = torch.autograd.grad(PoseLoss()(*prediction, *target, known).total, prediction)
    assert torch.equal((uv != 0).all(dim=-1), known.joints)
    assert torch.equal((uv != 0).any(dim=-1), known.joints)
    assert torch.equal(depth != 0, known.joints & known.depth[:, None])
    assert torch.equal(root != 0, known.depth)


@pytest.mark.parametrize("known", ["pixels", "nothing"])
def test_a_batch_without_depth_has_no_loss_of_depth(known: str) -> None:
    target = labels(4, torch.float32)
    mask = KnownLabels(torch.full((4, 21), known == "pixels"), torch.zeros(4).bool())
    prediction = [values.requires_grad_() for values in noisy(target)]
    terms = PoseLoss()(*prediction, *target, mask)
    assert (terms.depth, terms.root) == (0, 0)
    assert (terms.total > 0) == (known == "pixels")
    uv, depth, root = torch.autograd.grad(terms.total, prediction)
    assert (not depth.any(), not root.any()) == (True, True)
    assert bool(uv.any()) == (known == "pixels")


def test_shares_of_a_batch_add_up_by_what_each_process_knows() -> None:
    """As two processes that average their gradients do: the first knows all depths, the second none."""
    target, known = labels(6), masked()
    prediction = noisy(target)
    whole = PoseLoss()(*prediction, *target, known)
    parts = slice(0, 3), slice(3, 6)
    shares = [KnownLabels(known.joints[part], known.depth[part]) for part in parts]
    counts = (shares[0].counts() + shares[1].counts()) / 2
    terms = [
        PoseLoss()(*(values[part] for values in (*prediction, *target)), share, counts)
        for part, share in zip(parts, shares, strict=True)
    ]
    for name, expected in whole._asdict().items():
        assert sum(getattr(one, name).item() for one in terms) / 2 == pytest.approx(expected.item()), name
