"""Finding a run's checkpoint, and the view size that it was trained on."""

from pathlib import Path

import pytest
import torch

from peclr.inference.network import PUBLISHED_VIEW_SIZE, TrainedNetwork, load_network
from peclr.models.encoders import ResNetEncoder


def test_a_runs_folder_and_its_checkpoint_tell_the_view_size(run: Path, trained: TrainedNetwork) -> None:
    for path in (run, run / "checkpoints" / "last.ckpt"):
        loaded = load_network(path)
        assert loaded.view_size == 32
        assert loaded.checkpoint == run / "checkpoints" / "last.ckpt"
        assert not loaded.network.training
        expected = trained.network.state_dict()
        assert all(torch.equal(value, expected[key]) for key, value in loaded.network.state_dict().items())
    assert load_network(run, view_size=48).view_size == 48


def test_a_bare_checkpoint_is_taken_for_a_published_one(trained: TrainedNetwork, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "net.pth"
    path.parent.mkdir(parents=True)
    torch.save({"state_dict": trained.network.state_dict()}, path)
    assert load_network(path).view_size == PUBLISHED_VIEW_SIZE == 224


def test_a_run_of_the_command_line_is_read(embedded_hands: Path, tmp_path: Path) -> None:
    """The config is what `peclr fit` writes, not what this file takes it to be."""
    from peclr.__main__ import main

    run = tmp_path / "finetune"
    options = ["--model=FinetuneModule", "--model.encoder=ResNetEncoder", "--model.encoder.name=resnet18"]
    options += ["--model.encoder.width=0.125", "--model.view_size=48", "--data=LabelledHandDataModule"]
    options += [f"--data.root={embedded_hands}", "--data.view_size=48", "--data.batch_size=4"]
    options += ["--data.num_workers=0", "--trainer.max_steps=1", "--trainer.limit_val_batches=0"]
    options += ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
    assert main(["fit", *options, "--trainer.accelerator=cpu", f"--run_dir={run}"]) == 0
    loaded = load_network(run, device="cpu")
    assert loaded.view_size == 48
    assert loaded.network.backend_model.width == 0.125


def test_what_is_no_fine_tuning_run_is_named(run: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere: no such run"):
        load_network(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"holds no checkpoints.last\.ckpt"):
        load_network(tmp_path)
    with pytest.raises(ValueError, match="view size 0"):
        load_network(run, view_size=0)
    (run / "config.yaml").write_text("model: {}\n")
    with pytest.raises(ValueError, match=r"config\.yaml: expected model\.init_args\.view_size"):
        load_network(run)
    encoder = {f"encoder.{key}": value for key, value in ResNetEncoder("resnet18", 0.125).state_dict().items()}
    torch.save({"state_dict": encoder}, tmp_path / "pretrained.ckpt")
    with pytest.raises(ValueError, match="no pose head"):
        load_network(tmp_path / "pretrained.ckpt")
