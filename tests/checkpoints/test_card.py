"""The card: what a stranger needs, and nothing that is not so."""

import hashlib
import re
from pathlib import Path

import torch

from peclr.checkpoints import load_pose_net


def test_an_exported_run_comes_back_whole(exported_run: Path, finetuned_run: Path) -> None:
    names = sorted(path.name for path in exported_run.iterdir())
    assert names == ["README.md", "finetuned.onnx", "finetuned.safetensors"]  # torchvision has no such width
    expected = load_pose_net(finetuned_run).state_dict()
    back = load_pose_net(exported_run / "finetuned.safetensors").state_dict()
    assert all(torch.equal(value, back[key]) for key, value in expected.items())


def test_the_card_tells_all_that_a_stranger_needs(exported_run: Path) -> None:
    card = (exported_run / "README.md").read_text()
    assert "138 tensors used" in card
    assert "(batch, 3, 48, 48)" in card
    assert "| 9 | middle_mcp |" in card
    assert "| `xyz_al_mean3d` | 1.25 |" in card
    assert "max_epochs: 7" in card
    assert "root" not in card.split("## Training")[1]  # options left at null are left out
    assert str(exported_run.parent) not in card
    difference = re.search(r"by at most (\S+) px and (\S+) mm", card)
    assert difference is not None
    assert float(difference[1]) <= 1e-4
    assert float(difference[2]) <= 0.1
    assert hashlib.sha256((exported_run / "finetuned.onnx").read_bytes()).hexdigest() in card


def test_the_card_names_no_file_that_is_not_there(exported_run: Path) -> None:
    card = (exported_run / "README.md").read_text()
    named = set(re.findall(r"finetuned\.(?:onnx|safetensors)|\w+\.pth", card))
    assert named == {"finetuned.onnx", "finetuned.safetensors"}
