"""Trackers get config, numbers, images and checkpoints; CSV stays; runs never clash; no network, no waiting."""

import csv
import json
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml
from pytorch_lightning.loggers import WandbLogger

from peclr.__main__ import main
from peclr.tracking.loggers import close_wandb, reachable, run_loggers
from tests.tracking.wandb_file import config_of, history_of, records

CONF = Path(__file__).parents[1] / "conf"
IMAGES = '[{"class_path": "ViewImages", "init_args": {"count": 2}}]'


def fit(hands: Path, run: Path, *more: str) -> int:
    root = f"--data.sources.init_args.root={hands}"
    return main(
        ["fit", f"--config={CONF / 'pretrain.yaml'}", root, f"--run_dir={run}", "--trainer.max_epochs=1", *more]
    )


def losses(run: Path) -> list[float]:
    with (run / "metrics.csv").open() as file:
        return [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]


@pytest.fixture(scope="module")
def offline(rendered_hands: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two offline runs of one process: one trains, TensorBoard tracks it, too; the other logs a number."""
    pytest.importorskip("tensorboard")
    folder = tmp_path_factory.mktemp("offline")
    runs = [folder / "first", folder / "second"]
    wandb = {"class_path": "WandbLogger", "init_args": {"project": "hands"}}
    asked = json.dumps([wandb, {"class_path": "TensorBoard"}])
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"MODE": "offline", "SILENT": "true", "CONSOLE": "off", "X_DISABLE_STATS": "true"}.items():
            patch.setenv(f"WANDB_{name}", value)
        assert fit(rendered_hands, runs[0], f"--trainer.logger={asked}", f"--trainer.callbacks={IMAGES}") == 0
        loggers = run_loggers(asked=wandb, made=WandbLogger(project="hands"), folder=runs[1], name="second")
        assert isinstance(loggers, list)
        loggers[1].log_metrics({"train/loss": 0.5}, step=0)
        close_wandb(failed=False)
    return runs


def test_wandb_has_the_nested_config_and_the_name_of_the_runs_folder(offline: list[Path]) -> None:
    found = records(offline[0])
    config = config_of(found)
    assert config["model"]["init_args"]["objective"]["init_args"]["temperature"] == 0.1
    assert config["data"]["init_args"]["pairing"] == "across_versions"
    start = next(record.run for record in found if record.WhichOneof("record_type") == "run")
    assert (start.display_name, start.project) == ("first", "hands")


def test_wandb_has_the_metrics_of_the_csv_file_and_the_images(offline: list[Path]) -> None:
    history = history_of(records(offline[0]))
    assert [row["train/loss"] for row in history if "train/loss" in row] == pytest.approx(losses(offline[0]), rel=1e-4)
    shown = [row["views/pairs"] for row in history if "views/pairs" in row]
    assert shown
    files = offline[0] / "wandb" / "latest-run" / "files"
    assert all((files / name).read_bytes()[:4] == b"\x89PNG" for row in shown for name in row["filenames"])


def test_wandb_has_the_last_and_the_best_checkpoint_with_their_scores(offline: list[Path]) -> None:
    artifacts = [
        record.request.log_artifact.artifact if record.WhichOneof("record_type") == "request" else record.artifact
        for record in records(offline[0])
        if record.WhichOneof("record_type") == "artifact" or record.request.WhichOneof("request_type") == "log_artifact"
    ]
    models = [artifact for artifact in artifacts if artifact.type == "model"]
    for model, name, metric in zip(models, ("best", "last"), ("val/loss", "train/loss"), strict=True):
        assert name in model.aliases
        assert f'"{metric}"' in model.metadata
        assert [content.path for content in model.manifest.contents] == ["model.ckpt"]
        assert model.manifest.contents[0].size == (offline[0] / "checkpoints" / f"{name}.ckpt").stat().st_size


def test_two_runs_of_one_process_do_not_clash(offline: list[Path]) -> None:
    first, second = (records(run) for run in offline)
    ids = [next(record.run.run_id for record in found if record.run.run_id) for found in (first, second)]
    assert ids[0] != ids[1]
    assert [row["train/loss"] for row in history_of(second)] == [0.5]
    assert 0.5 not in [row.get("train/loss") for row in history_of(first)]
    assert "model" in yaml.safe_load((offline[0] / "config.yaml").read_text()), "ours, not W&B's"


def test_tensorboard_has_config_metrics_and_images(offline: list[Path]) -> None:
    # tensorboard ships no types
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]

    events = EventAccumulator(str(offline[0] / "tensorboard"))
    events.Reload()
    shown = [event.value for event in events.Scalars("train/loss")]
    assert shown == pytest.approx(losses(offline[0]), rel=1e-4)
    assert events.Images("views/pairs")
    assert "temperature" in (offline[0] / "tensorboard" / "hparams.yaml").read_text()


@pytest.mark.slow
def test_without_a_network_an_online_run_goes_offline_at_once(rendered_hands: Path, tmp_path: Path) -> None:
    """In a network of its own that leads nowhere, and with a key, so that W&B would want to connect."""
    command = [sys.executable, "-m", "peclr", "fit", f"--config={CONF / 'pretrain.yaml'}"]
    command += [f"--data.sources.init_args.root={rendered_hands}", f"--run_dir={tmp_path / 'run'}"]
    command += ["--trainer.logger=WandbLogger", "--trainer.max_epochs=1"]
    isolated = ["unshare", "--map-root-user", "--net"]
    if subprocess.run([*isolated, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this system does not let a test unshare its network")
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "WANDB_API_KEY": "0" * 40, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*isolated, *command], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "cannot be reached" in done.stderr
    assert history_of(records(tmp_path / "run"))


def test_a_server_that_listens_is_reachable_and_one_that_is_gone_is_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        assert reachable(url)
    assert not reachable(url)
    with pytest.raises(ValueError, match="nonsense"):
        reachable("nonsense")


def test_a_name_that_is_looked_up_forever_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    over, ended = threading.Event(), threading.Event()

    def look_up(*_: Any, **__: Any) -> socket.socket:
        over.wait(30)
        ended.set()
        raise socket.gaierror

    monkeypatch.setattr(socket, "create_connection", look_up)
    assert not reachable("https://api.wandb.ai", seconds=0.01)
    assert not ended.is_set(), "it came back while the look-up was still under way"
    over.set()


def test_a_proxy_is_asked_in_place_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def connect(address: Any, timeout: float) -> socket.socket:
        asked.append(address)
        raise OSError

    monkeypatch.setattr(socket, "create_connection", connect)
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "other.example")
    assert not reachable("https://api.wandb.ai")
    assert not reachable("https://other.example")
    assert asked == [("proxy.example", 3128), ("other.example", 443)]


def test_no_logger_means_none(tmp_path: Path) -> None:
    assert run_loggers(asked=False, made=False, folder=tmp_path, name="") is False
