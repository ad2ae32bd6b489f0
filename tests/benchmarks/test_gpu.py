"""The GPU benchmark runs anywhere at a tiny size, so that it works where there is a GPU."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.benchmarks import gpu

TINY = [
    "--network",
    "resnet18",
    "--width",
    "0.125",
    "--size",
    "32",
    "--pairs",
    "2",
    "--steps",
    "1",
    "--rounds",
    "2",
    "--eager",
]


def test_it_measures_both_styles_and_names_the_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "throughput.json"
    assert gpu.main([*TINY, f"--out={out}"]) == 0
    found = json.loads(out.read_text())
    assert [row["style"] for row in found["rows"]] == ["ours", "published style"]
    assert all(row["views_per_s"] > 0 and row["loader_cores"] > 0 for row in found["rows"])
    assert "cores" in found["machine"]
    assert "published style" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        gpu.main([*TINY, f"--out={out}"])


def test_flops_are_those_of_the_convolutions() -> None:
    """Against a count by hooks; backwards is twice forwards, less the first layer, which no image needs it of."""
    counted = []

    def count(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        weight = layer.weight
        assert isinstance(weight, torch.Tensor)
        counted.append(2 * output.numel() * weight[0].numel())

    model = gpu.networks("resnet18", 0.25, torch.device("cpu"), channels_last=False)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    model(torch.rand(2, 3, 32, 32))
    expected = (3 * sum(counted) - counted[0]) / 2
    assert gpu.flops_per_view("resnet18", 0.25, 32) == pytest.approx(expected)
