"""What checking strangers' files costs, over reading the same without a check: weights, labels."""

import json
import time
from pathlib import Path

import numpy as np
import torch

from peclr.checkpoints import load_encoder
from peclr.models.encoders import ResNetEncoder
from peclr.untrusted.binary import numbers
from peclr.untrusted.text import read_json
from tests.benchmarks.bench_views import medians, one_thread_each
from tests.benchmarks.run import Row

HANDS, ROUNDS = 8_000, 5


def plain_encoder(path: Path) -> ResNetEncoder:
    """Read weights as one would without checks."""
    encoder = ResNetEncoder("resnet152")
    encoder.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return encoder


def run() -> list[Row]:
    """Measure CPU time in turns, one thread each."""
    with one_thread_each() as folder:
        weights, labels = folder / "resnet152.pth", folder / "training_xyz.json"
        torch.save(ResNetEncoder("resnet152").state_dict(), weights)
        labels.write_text(json.dumps(np.random.default_rng(0).normal(size=(HANDS, 21, 3)).tolist()))
        times = medians(
            {
                "weights": lambda _: load_encoder(weights),
                "plain weights": lambda _: plain_encoder(weights),
                "labels": lambda _: numbers(read_json(labels), (21, 3), labels),
                "plain labels": lambda _: np.asarray(json.loads(labels.read_bytes())),
            },
            ROUNDS,
            time.process_time,
        )
    return [
        (f"checked_{kind}_over_plain", times[kind] / times[f"plain {kind}"], "× plain reading", "≤ 1.03")
        for kind in ("weights", "labels")
    ]
