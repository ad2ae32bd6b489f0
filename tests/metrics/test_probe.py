"""The ridge probe against the normal equations, and what it must keep apart."""

from typing import cast

import pytest
import torch

from experiments.rendered.jobs import encode
from peclr.data.samples import LabeledBatch
from peclr.metrics.probe import EncodedHands, class_probe, ridge_probe
from peclr.metrics.ridge import Ridge
from peclr.models.encoders import ResNetEncoder


def hands(count: int, seed: int, *, informative: bool = True) -> EncodedHands:
    """Hands whose joints are a fixed linear map of a latent; features hold the latent, or noise alone."""
    rng = torch.Generator().manual_seed(seed)
    mixing = torch.randn(4, 105, generator=torch.Generator().manual_seed(0))
    latent = torch.randn(count, 4, generator=rng)
    labels = latent @ mixing
    noise = torch.randn(count, 4, generator=rng)
    features = torch.cat([latent if informative else noise, noise], dim=1)
    return EncodedHands(features, labels[:, :42].reshape(-1, 21, 2), labels[:, 42:].reshape(-1, 21, 3))


@pytest.mark.parametrize("count", [5, 50])
@pytest.mark.parametrize("strength", [0.1, 10.0])
def test_ridge_solves_the_normal_equations(count: int, strength: float) -> None:
    torch.manual_seed(1)
    x, y = torch.randn(count, 12).double(), torch.randn(count, 3).double()
    new = torch.randn(7, 12).double()
    z = (x - x.mean(0)) / x.std(0, unbiased=False)
    weights = torch.linalg.solve(z.T @ z + strength * torch.eye(12), z.T @ (y - y.mean(0)))
    expected = (new - x.mean(0)) / x.std(0, unbiased=False) @ weights + y.mean(0)
    whole, parts = Ridge(12, 3).add(x, y), Ridge(12, 3).add(x[:2], y[:2]).add(x[2:], y[2:])
    torch.testing.assert_close(whole.predict(new, strength), expected)
    torch.testing.assert_close(parts.predict(new, strength), expected)


def test_informative_features_probe_better_than_noise() -> None:
    good, bad = (
        ridge_probe(
            hands(100, 1, informative=informative),
            hands(50, 2, informative=informative),
            hands(50, 3, informative=informative),
        )
        for informative in (True, False)
    )
    assert good.error_2d_px < 0.1 * bad.error_2d_px
    assert good.root_relative_epe_mm < 0.1 * bad.root_relative_epe_mm
    assert good.pa_epe_mm < good.root_relative_epe_mm


def test_the_strength_is_chosen_on_validation_hands_not_on_test_hands() -> None:
    train, val = hands(12, 1, informative=False), hands(200, 2, informative=False)
    chosen = ridge_probe(train, val, hands(50, 3)).strength
    assert chosen == ridge_probe(train, val, hands(50, 4, informative=False)).strength
    assert chosen == max((1.0, 1000.0, 10000.0)), "noise is best answered by the mean"


def test_a_constant_feature_does_no_harm() -> None:
    train, test = hands(100, 1), hands(50, 3)
    dead = [
        EncodedHands(torch.cat([h.features, torch.zeros(len(h.features), 1)], 1), h.joints_2d, h.joints_3d)
        for h in (train, test)
    ]
    assert ridge_probe(dead[0], dead[1], dead[1]).root_relative_epe_mm == pytest.approx(
        ridge_probe(train, test, test).root_relative_epe_mm
    )


def test_features_that_are_not_finite_are_reported() -> None:
    broken = hands(10, 1)
    broken.features[3, 2] = torch.nan
    with pytest.raises(ValueError, match="val hands are not finite"):
        ridge_probe(hands(10, 2), broken, hands(10, 3))


def test_one_hand_is_too_few() -> None:
    with pytest.raises(ValueError, match="at least 2 labeled hands; got 1"):
        ridge_probe(hands(1, 1), hands(10, 2), hands(10, 3))


def test_encoding_leaves_the_encoder_as_it_was_and_joints_relative_to_the_wrist() -> None:
    torch.manual_seed(0)
    encoder = ResNetEncoder("resnet18", width=0.125).train()
    batch = {
        "image": torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8),
        "joints_25d": torch.randn(4, 21, 3),
        "joints_3d": torch.randn(4, 21, 3),
    }
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    encoded = encode(encoder, [cast(LabeledBatch, batch)] * 2)
    assert encoder.training
    assert all(torch.equal(before[key], value) for key, value in encoder.state_dict().items())
    assert encoded.features.shape == (8, encoder.feature_dim)
    assert (encoded.joints_3d[:, 0] == 0).all()
    torch.testing.assert_close(encoded.features[:4], encoded.features[4:])


def test_classes_are_read_from_features_that_hold_them() -> None:
    generator = torch.Generator().manual_seed(0)
    names = [f"class {number % 3}" for number in range(60)]
    means = torch.randn(3, 8, generator=generator)
    features = means[torch.arange(60) % 3] + 0.1 * torch.randn(60, 8, generator=generator)
    parts = torch.split(features, 20)
    classes = [names[:20], names[20:40], names[40:]]
    assert class_probe(parts, classes) == 1.0
    noise = torch.randn(3, 20, 8, generator=generator)
    assert 0.1 < class_probe(list(noise), classes) < 0.7
    assert class_probe((parts[0][:6], *parts[1:]), classes) == 1.0, "the first of the list"
