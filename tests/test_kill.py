"""Real processes that are killed, and several that train together: `python -m peclr` as users start it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from peclr.__main__ import main as peclr
from peclr.data.prepare.cutting import Cutting
from peclr.data.prepare.sharding import shard_source
from peclr.data.sources import open_source
from peclr.untrusted.binary import damage_of_zip
from tests.data.sources.folder_server import serving_folder

pytestmark = pytest.mark.slow
CONF = Path(__file__).parent / "conf"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
PATIENCE = 120.0


def pretrain(hands: Path, *more: str) -> list[str]:
    source = f"--data.root={hands}"
    few = ("--data.pairing=same_image", "--data.batch_size=4", "--trainer.max_epochs=4", "--trainer.max_steps=30")
    return ["fit", f"--config={CONF / 'pretrain.yaml'}", source, *few, "--checkpoint.every_n_steps=1", *more]


def finetune(hands: Path, *more: str) -> list[str]:
    # small steps: the gradient of an L1 loss jumps where rounding changes a residual's sign
    sgd = "--model.optimizer={class_path: torch.optim.SGD, init_args: {lr: 1e-5}}"
    few = ("--data.batch_size=4", "--data.num_labels=16", "--trainer.max_epochs=4", "--model.freeze_encoder=true")
    config = f"--config={CONF / 'finetune.yaml'}"
    return ["fit", config, f"--data.root={hands}", *few, sgd, "--checkpoint.every_n_steps=1", *more]


def start(folder: Path, *command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(folder: Path, pattern: str, process: subprocess.Popen[str]) -> Path:
    """The first file of a name, as soon as it is there."""
    end = time.monotonic() + PATIENCE
    while not (found := list(folder.glob(pattern))):
        assert process.poll() is None, f"ended before it wrote {pattern}: {process.communicate()[1]}"
        assert time.monotonic() < end, f"did not write {pattern}"
        time.sleep(0.002)
    return found[0]


def weights_of(run: Path, prefix: str = "") -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return {key: value for key, value in state.items() if key.startswith(prefix)}


@pytest.fixture(scope="module")
def straight(rendered_hands: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pre-training that nobody disturbs."""
    run = tmp_path_factory.mktemp("straight") / "run"
    assert peclr(pretrain(rendered_hands, f"--run_dir={run}")) == 0
    return run


@pytest.mark.parametrize(
    ("number", "status", "every"),
    [(signal.SIGKILL, -9, 0), (signal.SIGKILL, -9, 1), (signal.SIGTERM, 143, 1)],  # SIGINT is noted as SIGTERM is
)
def test_a_killed_run_ends_with_the_weights_of_one_that_was_not(
    number: signal.Signals, status: int, every: int, straight: Path, rendered_hands: Path, tmp_path: Path
) -> None:
    saves = f"--checkpoint.every_n_steps={every}"  # 0: at epochs' ends alone
    run = tmp_path / "run"
    last = run / "checkpoints" / "last.ckpt"
    process = start(tmp_path, "peclr", *pretrain(rendered_hands, f"--run_dir={run}", "--data.num_workers=1", saves))
    wait_for(tmp_path, "run/checkpoints/last.ckpt", process)
    os.killpg(process.pid, number)  # workers, too, as terminals and schedulers do
    stderr = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == status, stderr
    assert damage_of_zip(last) is None
    if number != signal.SIGKILL:
        assert f"--ckpt_path {last} --run_dir {run}" in stderr
    state = torch.load(last, weights_only=True)
    assert 0 < state["global_step"] < 30, "killed before its end"
    assert peclr(pretrain(rendered_hands, f"--run_dir={run}", f"--ckpt_path={last}")) == 0
    first, second = weights_of(straight), weights_of(run)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.fixture(scope="module")
def alone(rendered_hands: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fine-tuning in one process."""
    run = tmp_path_factory.mktemp("alone") / "run"
    assert peclr(finetune(rendered_hands, f"--run_dir={run}")) == 0
    return run


def assert_same_head(first: Path, second: Path) -> None:
    """The head's weights agree; the refinement after it has a BatchNorm, which sees one process' part of a batch."""
    prefix = "pose_net.backend_model.fc"
    torch.testing.assert_close(weights_of(second, prefix), weights_of(first, prefix), rtol=0, atol=1e-5)


TWO = ("--trainer.accelerator=cpu", "--trainer.devices=2", "--trainer.strategy=ddp")


def test_two_processes_of_lightning_stop_together_and_one_goes_on(
    alone: Path, rendered_hands: Path, tmp_path: Path
) -> None:
    process = start(tmp_path, "peclr", *finetune(rendered_hands, *TWO))
    last = wait_for(tmp_path, "runs/finetune/*/checkpoints/last.ckpt", process)
    process.send_signal(signal.SIGTERM)
    stderr = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 143, stderr
    (run,) = (tmp_path / "runs" / "finetune").iterdir()
    assert len(list(run.glob("config*.yaml"))) == 1
    assert not (run / "results.json").exists()
    assert peclr(finetune(rendered_hands, f"--run_dir={run}", f"--ckpt_path={last}")) == 0
    assert_same_head(alone, run)


def test_two_processes_that_pre_train_together_survive_being_killed(rendered_hands: Path, tmp_path: Path) -> None:
    """Bitwise, as BatchNorm and contrast see the same pairs on the same process again; on shards."""
    shards = tmp_path / "shards"
    assert peclr(["prepare", "any", str(rendered_hands), f"--shards={shards}", "--size=64"]) == 0
    few = (*TWO, "--model.micro_batch=2", "--data.batch_size=8", "--trainer.max_epochs=2")
    straight, run = tmp_path / "straight", tmp_path / "run"
    process = start(tmp_path, "peclr", *pretrain(shards, *few, f"--run_dir={straight}"))
    stderr = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 0, stderr
    process = start(tmp_path, "peclr", *pretrain(shards, *few, f"--run_dir={run}"))
    last = wait_for(tmp_path, "run/checkpoints/last.ckpt", process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=PATIENCE)
    assert 0 < torch.load(last, weights_only=True)["global_step"] < 8, "killed before its end"
    process = start(tmp_path, "peclr", *pretrain(shards, *few, f"--run_dir={run}", f"--ckpt_path={last}"))
    stderr = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 0, stderr
    first, second = weights_of(straight), weights_of(run)
    assert all(torch.equal(first[key], second[key]) for key in first)
    metrics = json.loads((run / "results.json").read_text())["metrics"]
    assert metrics["train/effective_negatives"] == 2 * 8 - 2, "of both processes"


def test_two_processes_over_shards_end_with_the_weights_of_one(rendered_hands: Path, tmp_path: Path) -> None:
    """Six shards, of hands that each process reads a part of; the encoder is frozen, as BatchNorm sees parts alone."""
    shards, one, two = tmp_path / "shards", tmp_path / "one", tmp_path / "two"
    shard_source(open_source(rendered_hands), shards, Cutting(64), per_task=8)
    assert peclr(finetune(shards, f"--run_dir={one}")) == 0
    process = start(tmp_path, "peclr", *finetune(shards, *TWO, "--data.num_workers=2", f"--run_dir={two}"))
    stderr = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 0, stderr
    assert_same_head(one, two)
    begun = torch.load(one / "checkpoints" / "last.ckpt", weights_only=True)
    assert begun["global_step"] == torch.load(two / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] > 8


def test_a_killed_run_on_an_address_ends_with_the_weights_of_one_on_the_folder(
    rendered_hands: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From six shards, of which four fit into the cache, by a host that breaks off now and then."""
    folder, straight, run = tmp_path / "shards", tmp_path / "straight", tmp_path / "run"
    shard_source(open_source(rendered_hands), folder, Cutting(64), per_task=8)
    largest = max(path.stat().st_size for path in folder.glob("shards/*.tar"))
    few = ("--data.shards_at_once=2", "--data.val_fraction=0", "--trainer.max_epochs=3", f"--run_dir={run}")
    assert peclr(pretrain(folder, *few[:-1], f"--run_dir={straight}")) == 0
    for name, value in (("PECLR_CACHE", str(tmp_path / "cache")), ("PECLR_CACHE_GB", f"{4 * largest / 1e9:.12f}")):
        monkeypatch.setitem(ENVIRONMENT, name, value)
    with serving_folder(folder) as served:
        served.cut["000002-00.tar"] = [1000]
        command = ["peclr", *pretrain(folder, *few, f"--data.root={served.address}", "--data.num_workers=2")]
        process = start(tmp_path, *command)
        last = wait_for(tmp_path, "run/checkpoints/last.ckpt", process)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=PATIENCE)
        assert 0 < torch.load(last, weights_only=True)["global_step"] < 30, "killed before its end"
        process = start(tmp_path, *command, f"--ckpt_path={last}")
        stderr = process.communicate(timeout=PATIENCE)[1]
        assert process.returncode == 0, stderr
        assert "MB of shards, of which" in stderr
    first, second = weights_of(straight), weights_of(run)
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert len(list((tmp_path / "cache" / "shards").glob("*.tar"))) <= 4


def test_two_processes_of_torchrun_share_a_folder_and_go_on_there_when_it_restarts_them(
    alone: Path, rendered_hands: Path, tmp_path: Path
) -> None:
    launch = ("torch.distributed.run", "--standalone", "--nproc_per_node=2", "--max-restarts=1", "-m", "peclr")
    process = start(tmp_path, *launch, *finetune(rendered_hands, *TWO))
    wait_for(tmp_path, "runs/finetune/*/checkpoints/last.ckpt", process)
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(workers[1]), signal.SIGKILL)
    stderr = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 0, stderr
    (run,) = (tmp_path / "runs" / "finetune").iterdir()
    assert len(list(run.glob("config*.yaml"))) == 2
    assert (run / "results.json").is_file()
    assert_same_head(alone, run)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_start_that_is_killed_leaves_nothing_in_the_way_of_the_next(
    number: signal.Signals, status: int, rendered_hands: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    command = pretrain(rendered_hands, f"--run_dir={run}", "--trainer.max_epochs=1")
    process = start(tmp_path, "peclr", *command)
    wait_for(tmp_path, "run/config.yaml", process)
    process.send_signal(number)
    stderr = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == status, stderr
    assert "Traceback" not in stderr
    assert run.exists() == (number == signal.SIGKILL)
    assert peclr(command) == 0
    assert sorted(path.name for path in run.iterdir()) == ["checkpoints", "config.yaml", "metrics.csv", "results.json"]


def test_two_processes_that_cannot_start_give_the_folder_back(rendered_hands: Path, tmp_path: Path) -> None:
    command = finetune(rendered_hands, *TWO, "--trainer.max_epochs=1", "--name=two")
    for more, status in (("--model.view_size=64",), 2), ((), 0):  # what is wrong is found in both
        process = start(tmp_path, "peclr", *command, *more)
        stderr = process.communicate(timeout=PATIENCE)[1]
        assert process.returncode == status, stderr
        assert [path.name for path in (tmp_path / "runs" / "finetune").iterdir()] == ["two"] * (status == 0)


@pytest.mark.parametrize("seconds", [5.0, 10.0])
def test_torchrun_interrupted_early_can_be_started_again(seconds: float, rendered_hands: Path, tmp_path: Path) -> None:
    launch = ("torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "peclr")
    command = (*launch, *finetune(rendered_hands, *TWO, "--trainer.max_epochs=1"))
    process = start(tmp_path, *command)
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=PATIENCE) is not None
    process = start(tmp_path, *command)
    stderr = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 0, stderr
