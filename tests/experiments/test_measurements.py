"""The measurements behind chosen constants: their trials are valid, their arithmetic is right."""

from collections.abc import Callable

import numpy as np
import pytest

from experiments.measurements.find_hands import PICTURE_SIZE, move
from experiments.measurements.finetune_recipe import BASE, BASELINE, EXPERIMENTS, METRICS, TRIALS, table


def test_every_trial_is_a_valid_run_unlike_the_others(parse: Callable[[list[str]], object]) -> None:
    config = f"--config={EXPERIMENTS / 'demo' / 'finetune.yaml'}"
    parsed = [str(parse([config, *BASE, *changes])) for changes in TRIALS.values()]
    assert len(set(parsed)) == len(parsed)


def test_the_table_tells_differences_to_the_baseline_of_the_same_seed() -> None:
    def row(trial: str, seed: int, value: float) -> dict[str, object]:
        return {"trial": trial, "labels": 300, "steps": 300, "seed": seed, **dict.fromkeys(METRICS, value)}

    lines = table([row(BASELINE, 0, 40), row(BASELINE, 1, 50), row("other", 0, 39), row("other", 1, 47)]).splitlines()
    assert lines[1].split()[2:] == [BASELINE, "2", *["45.00", "±", "7.07"] * 3]
    assert lines[2].split()[2:] == ["other", "2", *["-2.00", "±", "1.41"] * 3]


@pytest.mark.parametrize("seed", range(5))
def test_a_moved_hand_is_in_the_picture_and_its_camera_still_sees_it(seed: int) -> None:
    stream = np.random.default_rng(seed)
    points = stream.uniform((-0.1, -0.1, 0.5), (0.1, 0.1, 0.7), (21, 3))
    K = np.array([[300.0, 0, 112], [0, 300, 112], [0, 0, 1]])
    joints = (points @ K.T)[:, :2] / points[:, 2:]
    moved, moved_joints, moved_K = move(np.zeros((224, 224, 3), np.uint8), joints, K, stream)
    assert moved.shape == (PICTURE_SIZE, PICTURE_SIZE, 3)
    assert moved_joints.min() >= 0
    assert moved_joints.max() <= PICTURE_SIZE
    np.testing.assert_allclose((points @ moved_K.T)[:, :2] / points[:, 2:], moved_joints, atol=1e-9)
    extent = np.ptp(moved_joints, axis=0).max() / PICTURE_SIZE
    assert 0.3 - 1e-9 <= extent <= 0.95 + 1e-9
