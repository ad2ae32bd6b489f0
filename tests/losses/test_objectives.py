"""SimCLR and PeCLR: the oracle that pins all signs, switches, and extreme inputs."""

import importlib
import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from peclr.geometry.affine import apply_affine, compose, invert, rotation, scaling, translation
from peclr.losses import objectives
from peclr.losses.equivariance import undo_translation_rotation
from peclr.losses.nt_xent import nt_xent_loss
from peclr.losses.objectives import AffinePeCLR, Objective, PeCLR, SimCLR
from peclr.losses.simhand import SiMHand

N_HANDS = 1000


def flat_hands(n: int, generator: torch.Generator) -> Tensor:
    """2-D joints (n, 21, 2) of hands: five fans of bent fingers, boxed as a reader does, with margin 1.25."""

    def noise(*shape: int) -> Tensor:
        return torch.randn(n, *shape, dtype=torch.float64, generator=generator)

    fan = torch.linspace(-0.9, 0.7, 5) + 0.12 * noise(5)
    knuckles = torch.stack((fan.sin(), -fan.cos()), dim=-1)
    bend = fan[..., None] + 0.3 * noise(5, 1) + 0.2 * noise(5, 3).cumsum(dim=-1)
    flexion = 0.3 + 0.7 * torch.rand(n, 5, 1, dtype=torch.float64, generator=generator)
    lengths = torch.tensor([0.45, 0.3, 0.25]) * flexion
    segments = lengths[..., None] * torch.stack((bend.sin(), -bend.cos()), dim=-1)
    fingers = torch.cat((knuckles[:, :, None], knuckles[:, :, None] + segments.cumsum(dim=2)), dim=2)
    joints = torch.cat((torch.zeros(n, 1, 2), fingers.reshape(n, 20, 2)), dim=1)
    joints = apply_affine(rotation(math.pi / 4 * noise()), joints)
    low, high = joints.amin(dim=1, keepdim=True), joints.amax(dim=1, keepdim=True)
    return (joints - (low + high) / 2) / (high - low).amax(dim=-1, keepdim=True) * 2 / 1.25


def random_views(n: int, shift: float, scale: float, generator: torch.Generator) -> Tensor:
    """view_from_crop (n, 2, 3, 3): ±45°, shifts up to a fraction of the view, zoom within a factor."""

    def uniform(*shape: int) -> Tensor:
        return 2 * torch.rand(n, 2, *shape, dtype=torch.float64, generator=generator) - 1

    return compose(translation(2 * shift * uniform(2)), rotation(math.pi / 4 * uniform()), scaling(scale ** uniform()))


def oracle(n: int, shift: float, scale: float, seed: int) -> tuple[Tensor, Tensor]:
    """What an encoder says that outputs the true joints of each view (n, 2, 42), and view_from_crop."""
    generator = torch.Generator().manual_seed(seed)
    hands = flat_hands(n, generator)
    view_from_crop = random_views(n, shift, scale, generator)
    return apply_affine(view_from_crop, hands[:, None]).flatten(2), view_from_crop


def mean_cosine(projections: Tensor) -> float:
    return cosine_similarity(projections[:, 0], projections[:, 1], dim=-1).mean().item()


def with_translation(view_from_crop: Tensor, sign: int) -> Tensor:
    changed = view_from_crop.clone()
    changed[..., :2, 2] *= sign
    return changed


def with_inverse_rotation(view_from_crop: Tensor) -> Tensor:
    changed = view_from_crop.clone()
    changed[..., :2, :2] = view_from_crop[..., :2, :2].mT
    return changed


@pytest.mark.parametrize("scale", [1.0, 1.25])
@pytest.mark.parametrize("shift", [0.06, 0.12])
def test_oracle_projections_agree_after_the_inversion_only(shift: float, scale: float) -> None:
    """An encoder that outputs the true joints of each view is perfectly equivariant."""
    joints, view_from_crop = oracle(N_HANDS, shift, scale, seed=0)
    peclr = PeCLR()

    undone = mean_cosine(peclr.undo(joints, view_from_crop))
    left_alone = mean_cosine(joints)
    wrong_sign = mean_cosine(peclr.undo(joints, with_translation(with_inverse_rotation(view_from_crop), sign=-1)))
    exact = apply_affine(invert(view_from_crop), joints.reshape(N_HANDS, 2, -1, 2)).flatten(2)

    # measured: 0.98, 0.74 to 0.80, 0.34 to 0.43
    assert 0.96 < undone < 0.995
    assert 0.70 < left_alone < 0.85
    assert 0.25 < wrong_sign < 0.50
    assert mean_cosine(exact) == pytest.approx(1.0, abs=1e-9)
    # either sign alone
    assert mean_cosine(peclr.undo(joints, with_translation(view_from_crop, sign=-1))) < undone - 0.04
    assert mean_cosine(peclr.undo(joints, with_inverse_rotation(view_from_crop))) < undone - 0.4
    # each switch alone helps less than both
    assert left_alone < mean_cosine(PeCLR(translation=False).undo(joints, view_from_crop)) < undone
    assert left_alone < mean_cosine(PeCLR(rotation=False).undo(joints, view_from_crop)) < undone


def test_the_loss_of_oracle_projections_is_lower_when_geometry_is_undone() -> None:
    batch = oracle(64, 0.12, 1.0, seed=1)
    undone, left_alone = (objective(*batch).item() for objective in (PeCLR(temperature=0.1), SimCLR(temperature=0.1)))
    assert undone < left_alone - 0.5


@pytest.mark.parametrize("scale", [1.0, 1.25, 3.0])
@pytest.mark.parametrize("shift", [0.06, 0.5])
def test_oracle_projections_agree_exactly_after_the_affine_inversion(shift: float, scale: float) -> None:
    """Whatever the scale and the shift, for which the published inversion is an approximation."""
    batch = oracle(N_HANDS, shift, scale, seed=4)
    first, second = AffinePeCLR().undo(*batch).unbind(dim=1)
    cosines = cosine_similarity(first, second, dim=-1)
    assert cosines.min().item() == pytest.approx(1.0, abs=1e-9)
    assert mean_cosine(PeCLR().undo(*batch)) < 0.99
    lower, higher = (objective(*batch).item() for objective in (AffinePeCLR(0.1), PeCLR(0.1)))
    assert lower < higher - 0.01


def test_the_affine_inversion_of_nothing_is_simclr() -> None:
    projections, _ = random_batch()
    identity = torch.eye(3).expand(8, 2, 3, 3)
    torch.testing.assert_close(AffinePeCLR()(projections, identity), SimCLR()(projections, identity))


def test_the_affine_inversion_reads_the_unit_of_the_view() -> None:
    """Points are moved back by what the view moved them, so unlike `PeCLR` it matters how long a projection is."""
    projections, view_from_crop = random_batch()
    short, long = (AffinePeCLR()(length * projections, view_from_crop).item() for length in (0.1, 10.0))
    assert abs(short - long) > 0.01


def random_batch(b: int = 8, d: int = 32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    projections = torch.randn(b, 2, d, dtype=torch.float64, generator=generator)
    return projections, random_views(b, 0.1, 1.2, generator)


def test_simclr_is_nt_xent_of_the_normalized_projections() -> None:
    projections, view_from_crop = random_batch()
    z = normalize(projections, dim=-1)
    loss = SimCLR(temperature=0.2)(projections, view_from_crop)
    torch.testing.assert_close(loss, nt_xent_loss(z[:, 0], z[:, 1], 0.2))
    torch.testing.assert_close(SimCLR(temperature=0.2)(projections, torch.zeros(8, 2, 3, 3)), loss)


def test_peclr_inverts_each_view_by_its_own_matrix() -> None:
    projections, _ = random_batch()
    generator = torch.Generator().manual_seed(3)
    offset, angle = torch.rand(8, 2, 2, generator=generator) - 0.5, torch.rand(8, 2, generator=generator)
    view_from_crop = compose(translation(2 * offset), rotation(angle), scaling(torch.full((8, 2), 1.3)))
    views = [
        undo_translation_rotation(
            normalize(projections[:, view], dim=-1).reshape(8, 16, 2), offset[:, view], angle[:, view]
        )
        for view in (0, 1)
    ]
    z1, z2 = (normalize(view.reshape(8, 32), dim=-1) for view in views)
    loss = PeCLR()(projections, view_from_crop)
    torch.testing.assert_close(loss, nt_xent_loss(z1, z2, 0.5), rtol=1e-6, atol=1e-6)


def test_peclr_without_geometry_is_simclr() -> None:
    projections, view_from_crop = random_batch()
    simclr = SimCLR()(projections, view_from_crop)
    nothing = PeCLR(translation=False, rotation=False)(projections, view_from_crop)
    identity = PeCLR()(projections, torch.eye(3).expand(8, 2, 3, 3))
    torch.testing.assert_close(nothing, simclr)
    torch.testing.assert_close(identity, simclr)
    assert not torch.isclose(PeCLR()(projections, view_from_crop), simclr)


@pytest.mark.parametrize("objective", [SimCLR(), PeCLR()])
def test_the_length_of_a_projection_does_not_matter(objective: SimCLR | PeCLR) -> None:
    projections, view_from_crop = random_batch()
    lengths = torch.linspace(0.1, 10, 16, dtype=torch.float64).reshape(8, 2, 1)
    torch.testing.assert_close(objective(lengths * projections, view_from_crop), objective(projections, view_from_crop))


@pytest.mark.parametrize("objective", [SimCLR(), PeCLR()])
def test_the_gradient_does_not_change_the_length_of_a_projection(objective: SimCLR | PeCLR) -> None:
    """True of PeCLR because it normalizes before the inversion too, whose range and mean are constants."""
    projections, view_from_crop = random_batch()
    projections.requires_grad_()
    (gradient,) = torch.autograd.grad(objective(projections, view_from_crop), projections)
    assert gradient.abs().max() > 1e-3
    along = (gradient * projections).sum(dim=-1)
    torch.testing.assert_close(along, torch.zeros_like(along), atol=1e-12, rtol=0)


@pytest.mark.parametrize("objective", [SimCLR(), AffinePeCLR()])  # in PeCLR, range and mean are constants
def test_gradients(objective: SimCLR | AffinePeCLR) -> None:
    projections, view_from_crop = random_batch(3, 4)
    assert torch.autograd.gradcheck(lambda p: objective(p, view_from_crop), projections.requires_grad_())


@pytest.mark.parametrize("objective", [SimCLR(), PeCLR(), AffinePeCLR(), SiMHand(temperature=0.05)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("magnitude", [0.0, 1e-8, 1e-3, 1.0, 1e4])
def test_any_magnitude_gives_a_finite_loss_and_gradient(
    objective: Objective, dtype: torch.dtype, magnitude: float
) -> None:
    projections, view_from_crop = random_batch()
    scaled = (magnitude * projections).to(dtype).requires_grad_()
    joints = 128 * torch.rand(8, 2, 21, 2, generator=torch.Generator().manual_seed(2))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = objective(scaled, view_from_crop.float(), joints_2d=joints)
    (gradient,) = torch.autograd.grad(loss, scaled)
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("name", ["SiMHand", "SplitObjective", "VICReg", "GeometryHead", "SoftPeCLR"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_half_precision_costs_a_loss_no_more_than_its_input_was_rounded(name: str, dtype: torch.dtype) -> None:
    projections, view_from_crop = random_batch()
    objective: Objective = getattr(objectives, name)()
    torch.manual_seed(0)
    objective.build(32)
    joints = torch.rand(len(projections), 2, 21, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def loss_and_gradient(given: Tensor, of: torch.dtype) -> tuple[Tensor, Tensor]:
        low = given.detach().requires_grad_()
        known = {"features": low, "joints_2d": joints.to(of), "hand": torch.arange(len(low))}
        known = {key: value for key, value in known.items() if key in objective.needs}
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=of == torch.float32):
            loss = objective(low, view_from_crop.to(of), **known)
        return loss, torch.autograd.grad(loss, low)[0].double()

    loss, gradient = loss_and_gradient(projections.to(dtype), torch.float32)
    objective.double()
    expected, exact = loss_and_gradient(projections.to(dtype).double(), torch.float64)
    assert loss.dtype == torch.float32
    # autocast runs a network's layers in half precision, as it does those of the encoder
    of_loss, of_gradient = (5e-3, 0.1) if name == "GeometryHead" else (1e-5, 1e-5 if dtype == torch.float32 else 5e-3)
    torch.testing.assert_close(loss.double(), expected, rtol=of_loss, atol=0)
    assert (gradient - exact).norm() <= of_gradient * exact.norm()


@pytest.mark.parametrize("objective", [SimCLR(), PeCLR(), AffinePeCLR()])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_one_dead_projection_does_not_poison_the_batch(
    objective: SimCLR | PeCLR | AffinePeCLR, dtype: torch.dtype
) -> None:
    projections, view_from_crop = random_batch()
    projections[3, 1] = 0
    dead = projections.to(dtype).requires_grad_()
    loss = objective(dead, view_from_crop.float())
    (gradient,) = torch.autograd.grad(loss, dead)
    assert loss.isfinite()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("objective", [SimCLR(), PeCLR(), AffinePeCLR()])
@pytest.mark.parametrize(
    ("projections", "matrices"),
    [
        ((8, 32), (8, 2, 3, 3)),
        ((8, 3, 32), (8, 3, 3, 3)),
        ((8, 2, 32), (4, 2, 3, 3)),
        ((8, 2, 32), (8, 2, 2, 3)),
    ],
)
def test_mismatched_shapes_are_refused(
    objective: SimCLR | PeCLR | AffinePeCLR, projections: list[int], matrices: list[int]
) -> None:
    with pytest.raises(ValueError, match=r"expected projections \(B, 2, D\) and view_from_crop \(B, 2, 3, 3\)"):
        objective(torch.zeros(*projections), torch.zeros(*matrices))


@pytest.mark.parametrize("objective", [PeCLR(), AffinePeCLR()])
def test_an_odd_number_of_features_cannot_be_points(objective: PeCLR | AffinePeCLR) -> None:
    with pytest.raises(ValueError, match="reads projections as 2-D points, got odd D = 33"):
        objective(torch.zeros(8, 2, 33), torch.eye(3).expand(8, 2, 3, 3))


@pytest.mark.parametrize("name", ["SiMHand", "SplitObjective", "VICReg", "GeometryHead", "SoftPeCLR"])
def test_objectives_of_other_files_come_from_here_whichever_is_imported_first(name: str) -> None:
    found = getattr(objectives, name)
    assert issubclass(found, Objective)
    assert found is getattr(importlib.import_module(found.__module__), name)
    assert found.__module__ != objectives.__name__


def test_what_is_no_objective_cannot_be_imported() -> None:
    with pytest.raises(AttributeError, match=r"'peclr\.losses\.objectives' has no attribute 'NoSuch'"):
        getattr(objectives, "NoSuch")  # noqa: B009  # mypy would object to the plain form


@pytest.mark.parametrize("objective", [SimCLR, PeCLR, AffinePeCLR])
@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_temperatures_that_no_softmax_has_are_refused_when_it_is_made(
    objective: type[SimCLR | PeCLR | AffinePeCLR], temperature: float
) -> None:
    with pytest.raises(ValueError, match=f"temperature must be above 0, got {temperature}"):
        objective(temperature)


@pytest.mark.parametrize(
    ("name", "weight"),
    [
        ("GeometryHead", "weight"),
        ("SplitObjective", "weight"),
        *(("VICReg", term) for term in ("invariance", "variance", "covariance")),
    ],
)
@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_weights_that_no_sum_has_are_refused_when_it_is_made(name: str, weight: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{weight} weighs a term of the loss: expected a number from 0, got {value}"):
        getattr(objectives, name)(**{weight: value})
