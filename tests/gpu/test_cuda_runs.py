"""Runs on a GPU: processes that share a batch, resuming, what is done with the weights, and memory."""

import gc
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import torch.distributed as dist
from pytorch_lightning.callbacks import Callback
from torch import Tensor
from torch.distributed.nn.functional import all_gather, all_reduce
from torch.nn.parallel import DistributedDataParallel

from peclr import collectives
from peclr.__main__ import main
from peclr.data.datamodules import PairedViewDataModule
from peclr.data.sources.freihand import FreiHAND
from peclr.losses.objectives import PeCLR
from peclr.models.encoders import ResNetEncoder
from peclr.training import PretrainModule
from tests.distributed import worker
from tests.gpu.test_cuda_numbers import Gradients, assert_close, gradients, on, pretraining
from tests.trainer import quiet_trainer

pytestmark = pytest.mark.cuda

CONF = Path(__file__).parents[1] / "conf"
STEPS, STOPPED = 6, 3  # the first overflows float16 at a scaler's first scale


def test_one_process_over_nccl_is_none(device: str, tmp_path: Path) -> None:
    """DistributedDataParallel, and the collectives that one process alone would leave out."""
    backend = "nccl" if device == "cuda" else "gloo"
    batch = on(device, worker.batch_of(6))
    plain = worker.OnViews(PeCLR(), micro_batch=None).to(device)
    expected = gradients(plain, plain(batch))
    dist.init_process_group(backend, init_method=(tmp_path / "store").as_uri(), rank=0, world_size=1)
    try:
        model = worker.OnViews(PeCLR(), micro_batch=None).to(device)
        found = gradients(model, DistributedDataParallel(model)(batch))
        leaf = torch.ones(3, 2, device=device, requires_grad=True)
        (rows,) = all_gather(leaf)  # type: ignore[no-untyped-call]  # torch's, without types
        all_reduce(rows.sum()).backward()  # type: ignore[no-untyped-call]  # the same
        assert leaf.grad is not None
        assert leaf.grad.equal(leaf)
        dist.all_reduce(torch.ones(1), group=collectives._host_group(dist.group.WORLD))  # NCCL has no hosts
    finally:
        dist.destroy_process_group()
    assert_close(found, expected, 1e-5)  # a GPU adds up in any order


def test_two_processes_on_one_gpu_are_one(device: str, tmp_path: Path) -> None:
    """Over gloo, as NCCL wants a GPU for each: losses and gradients of the whole batch, SyncBatchNorm's included."""
    command = [sys.executable, worker.__file__]
    processes = [subprocess.Popen([*command, str(rank), "2", str(tmp_path), device]) for rank in range(2)]
    try:
        alone = worker.run(0, 1, device)
        assert [process.wait(timeout=90) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    assert device == "cpu" or "SyncBatchNorm, uneven" in alone
    for rank in range(2):
        together = torch.load(tmp_path / f"2-{rank}.pt", weights_only=True, map_location="cpu")
        for case, expected in alone.items():
            if "loss" in expected:
                bound = 1e-2 if "SyncBatchNorm" in case else 1e-3  # statistics of few views, added up in another order
                assert_close(together[case], on("cpu", expected), bound, 1e-4)


class Stop(Callback):
    """Saves and stops after a number of steps."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_batch_end(self, trainer: pl.Trainer, *arguments: Any) -> None:
        if trainer.global_step == STOPPED:
            trainer.save_checkpoint(self.path)
            raise InterruptedError


def train(folder: Path, hands: Path, device: str, resumed: Path | None = None, **options: Any) -> dict[str, Tensor]:
    """Weights after a few deterministic steps in the precision of the shipped configs."""
    pl.seed_everything(0)
    module = PretrainModule(ResNetEncoder("resnet18", 0.25), PeCLR(), warmup_epochs=0)
    data = PairedViewDataModule(sources=FreiHAND(hands), view_size=64, batch_size=8, val_fraction=0.0, num_workers=2)
    precision = "16-mixed" if device == "cuda" else "bf16-mixed"
    settings = {"precision": precision, "deterministic": True, "accelerator": device, "devices": 1}
    trainer = quiet_trainer(folder, max_steps=STEPS, **settings, **options)
    trainer.fit(module, datamodule=data, ckpt_path=resumed, weights_only=False)
    return {name: value.cpu() for name, value in module.state_dict().items()}


def test_resuming_is_bit_for_bit(device: str, rendered_hands: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "stopped.ckpt"
    whole = train(tmp_path, rendered_hands, device)
    with pytest.raises(InterruptedError):
        train(tmp_path, rendered_hands, device, callbacks=[Stop(checkpoint)])
    resumed = train(tmp_path, rendered_hands, device, resumed=checkpoint)
    stopped = torch.load(checkpoint, weights_only=False, map_location="cpu")["state_dict"]
    assert not torch.equal(stopped["encoder.conv1.weight"], whole["encoder.conv1.weight"])  # steps are taken after it
    assert whole.keys() == resumed.keys()
    assert [name for name, value in whole.items() if not torch.equal(value, resumed[name])] == []


def fit(config: str, folder: Path, device: str, *options: str) -> Path:
    """A run as `peclr fit` makes it."""
    accelerator = "gpu" if device == "cuda" else "cpu"
    chosen = [f"--config={CONF / config}", f"--run_dir={folder}", f"--trainer.accelerator={accelerator}"]
    assert main(["fit", *chosen, "--trainer.precision=bf16-mixed", "--data.num_workers=1", *options]) == 0
    torch.set_float32_matmul_precision("highest")  # which `peclr fit` has lowered
    return folder


def test_a_fine_tuned_run_predicts_scores_and_is_exported(device: str, rendered_hands: Path, tmp_path: Path) -> None:
    run = fit("finetune.yaml", tmp_path / "run", device, f"--data.root={rendered_hands}")
    images = rendered_hands / "evaluation" / "rgb"
    hands = {}
    for where in {device, "cpu"}:
        out = tmp_path / where
        search = [f"--out={out}", f"--device={where}", "--no-overlay", "--find=search"]  # with or without a detector
        assert main(["predict", str(run), str(images), *search]) == 0
        assert main(["evaluate", str(run), f"--data={rendered_hands}", f"--out={out}-scores", f"--device={where}"]) == 0
        found = [json.loads(path.read_text()) for path in sorted(out.glob("*.json"))]
        hands[where] = np.array([hand["keypoints_2d"] for image in found for hand in image["hands"]])
    assert len(hands["cpu"]) == len(list(images.glob("*.jpg")))
    np.testing.assert_allclose(hands[device], hands["cpu"], atol=0.1)  # px; each crop follows from the first look
    assert main(["export", str(run), f"--out={tmp_path / 'out'}", "--formats", "safetensors"]) == 0


def test_memory_returns_to_where_it_was(device: str, rendered_hands: Path, tmp_path: Path) -> None:
    taken = []
    shown = json.dumps([{"class_path": name} for name in ("OnlineProbe", "ViewImages", "ProjectionImages")])
    for number in range(3 if device == "cuda" else 2):  # the first one's libraries keep their workspaces
        root = f"--data.root={rendered_hands}"
        chosen = [root, "--data.val_fraction=0.5", "--trainer.max_epochs=1", f"--trainer.callbacks={shown}"]
        fit("pretrain.yaml", tmp_path / str(number), device, *chosen)
        gc.collect()
        taken.append(torch.cuda.memory_allocated() if device == "cuda" else 0)
    assert taken[-1] <= taken[-2]


def test_compiled_is_eager(device: str) -> None:
    """The last, as compiling takes longest."""

    def of(*, compiled: bool) -> Gradients:
        model = pretraining("PeCLR").train().to(device)
        if compiled:
            model.module.encoder.compile(backend="inductor" if device == "cuda" else "aot_eager")
        return gradients(model, model(on(device, worker.batch_of(16))))

    assert_close(of(compiled=True), of(compiled=False), 1e-3)
