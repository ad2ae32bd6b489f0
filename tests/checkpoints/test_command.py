"""`peclr export`: what the weights allow is written, and the rest is said or refused in one line."""

from pathlib import Path

import pytest
import torch

from peclr.checkpoints import load_encoder
from peclr.checkpoints.command import export_main
from tests.checkpoints.weights import encoder_of


def test_an_encoder_alone_is_exported_for_torchvision(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights, out = tmp_path / "encoder.pth", tmp_path / "out"
    torch.save(encoder_of(width=1.0).state_dict(), weights)
    assert export_main([str(weights), "--out", str(out), "--formats", "torchvision", "--name", "mine"]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "mine_torchvision.pth"]
    assert load_encoder(out / "mine_torchvision.pth").name == "resnet18"
    card = (out / "README.md").read_text()
    assert "torchvision.models.resnet18()" in card
    assert "## Output" not in card
    assert "Not evaluated" in card
    assert "encoder.pth: torchvision ResNet" in capsys.readouterr().out


def test_what_the_weights_do_not_allow_is_left_out_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights, out = tmp_path / "encoder.pth", tmp_path / "out"
    torch.save(encoder_of().state_dict(), weights)
    assert export_main([str(weights), "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "encoder.safetensors"]
    shown = capsys.readouterr().out
    assert "no torchvision: torchvision has no resnet18 of width 0.125" in shown
    assert "no onnx: ONNX takes an image and a camera" in shown


def test_what_was_asked_for_and_cannot_be_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--formats torchvision: torchvision has no resnet18 of width 0\.125"):
        export_main([str(run), "--out", str(tmp_path / "out"), "--formats", "torchvision"])
    weights = tmp_path / "encoder.pth"
    torch.save(encoder_of().state_dict(), weights)
    with pytest.raises(ValueError, match=r"--formats onnx: .* an encoder alone"):
        export_main([str(weights), "--out", str(tmp_path / "out"), "--formats", "onnx"])
    with pytest.raises(ValueError, match="--half is for safetensors, and --formats leaves them out"):
        export_main([str(weights), "--half", "--formats=torchvision", "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()
    with pytest.raises(FileExistsError, match=r"run is not an empty folder; choose another"):
        export_main([str(run), "--out", str(run)])
    odd = ('{"metrics": {"a": [1]}}', '{"metrics": {"a": "1.5"}}', '{"metrics": {"a": true}}', '{"scores": {"a": 1}}')
    for scores in ("[1]", *odd, '{"scores": {"xyz_mean3d": true}}', '{"scores": {"xyz_mean3d": "1.5"}}'):
        (tmp_path / "scores.json").write_text(scores)
        with pytest.raises(ValueError, match=r"scores\.json: expected the scores\.json of `peclr evaluate`"):
            export_main([str(run), "--out", str(tmp_path / "out"), "--scores", str(tmp_path / "scores.json")])
