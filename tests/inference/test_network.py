"""Finding a run's checkpoint, and the view size that it was trained on."""

import shutil
from pathlib import Path

import pytest
import torch

from peclr.__main__ import main
from peclr.inference.network import TrainedNetwork, load_network
from peclr.models.encoders import ResNetEncoder
from peclr.models.pose_net import PoseNet25D


def test_a_runs_folder_and_its_checkpoint_tell_the_view_size(run: Path, trained: TrainedNetwork) -> None:
    for path in (run, run / "checkpoints" / "last.ckpt"):
        loaded = load_network(path)
        assert loaded.view_size == 32
        assert loaded.checkpoint == run / "checkpoints" / "last.ckpt"
        assert not loaded.network.training
        expected = trained.network.state_dict()
        assert all(torch.equal(value, expected[key]) for key, value in loaded.network.state_dict().items())
    assert load_network(run, view_size=48).view_size == 48


def test_a_published_network_is_known_by_its_layout_and_width(trained: TrainedNetwork, tmp_path: Path) -> None:
    published, narrow = tmp_path / "published.pth", tmp_path / "narrow.pth"
    with torch.device("meta"):  # weights do not matter
        state = PoseNet25D(ResNetEncoder("resnet18")).state_dict()
    torch.save({"state_dict": {key: torch.zeros_like(value, device="cpu") for key, value in state.items()}}, published)
    torch.save({"state_dict": trained.network.state_dict()}, narrow)
    assert load_network(published).view_size == 224
    with pytest.raises(ValueError, match=r"narrow\.pth: nothing says on views of which size .*; give --view-size"):
        load_network(narrow)
    assert load_network(narrow, view_size=32).view_size == 32


def test_the_network_of_a_run_is_used_alike_wherever_it_is_taken(rendered_hands: Path, tmp_path: Path) -> None:
    """From the folder that `peclr fit` writes, from a copy of its checkpoint, from an exported file."""
    run = tmp_path / "finetune"
    options = ["--model=FinetuneModule", "--model.encoder=ResNetEncoder", "--model.encoder.name=resnet18"]
    options += ["--model.encoder.width=0.125", "--model.view_size=48", "--data=LabeledHandDataModule"]
    options += [f"--data.root={rendered_hands}", "--data.view_size=48", "--data.batch_size=4"]
    options += ["--data.num_workers=0", "--trainer.max_steps=1", "--trainer.limit_val_batches=0"]
    options += ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
    assert main(["fit", *options, "--trainer.accelerator=cpu", f"--run_dir={run}"]) == 0
    copy, exported = tmp_path / "x.ckpt", tmp_path / "exported"
    shutil.copy(run / "checkpoints" / "last.ckpt", copy)
    assert main(["export", str(copy), "--out", str(exported), "--formats", "safetensors", "--name", "net"]) == 0
    for path in (run, copy, exported / "net.safetensors"):
        loaded = load_network(path, device="cpu")
        assert loaded.view_size == 48
        assert loaded.network.backend_model.width == 0.125
    content = torch.load(copy, weights_only=True)
    assert content["peclr"]["objective"]["init_args"] == {
        "keypoints_2d_weight": 224 / 48,
        "depth_weight": 5.0,
        "root_weight": 1.0,
    }
    del content["peclr"]
    torch.save(content, copy)
    with pytest.raises(ValueError, match=r"x\.ckpt: nothing says on views of which size"):
        load_network(copy)


def test_what_is_no_fine_tuning_run_is_named(run: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere: no such checkpoint"):
        load_network(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"no such checkpoint as checkpoints/last\.ckpt"):
        load_network(tmp_path)
    with pytest.raises(ValueError, match="view_size 0, expected a whole number of pixels"):
        load_network(run, view_size=0)
    (run / "config.yaml").write_text("model: {}\n")
    with pytest.raises(ValueError, match=r"last\.ckpt: nothing says on views of which size"):
        load_network(run)
    encoder = {f"encoder.{key}": value for key, value in ResNetEncoder("resnet18", 0.125).state_dict().items()}
    torch.save({"state_dict": encoder}, tmp_path / "pretrained.ckpt")
    with pytest.raises(ValueError, match="no pose head"):
        load_network(tmp_path / "pretrained.ckpt")
