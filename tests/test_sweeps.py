"""Sweeps run here: what they expand to, and what becomes of runs that end, fail, are stopped, and are tried again."""

import csv
import datetime
import errno
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from peclr.__main__ import main
from peclr.runs import aliases
from peclr.sweeps.lock import STALE_SECONDS, hold, is_held
from peclr.sweeps.plan import Sweep, read_sweep
from peclr.sweeps.study import Claim, Study

CONF = Path(__file__).parent / "conf"
# Stands in for `peclr fit`: scores `x`, fails where x is 2 unless fixed, notes its options, and resumes like a run.
PROGRAM = """
import json, os, pathlib, signal, sys, time
options = dict(word[2:].split("=", 1) for word in sys.argv[1:])
run = pathlib.Path(options["run_dir"])
if run.exists() and any(run.iterdir()) and "ckpt_path" not in options:
    sys.exit("not empty")
run.mkdir(parents=True, exist_ok=True)
(run / "options.json").write_text(json.dumps({**options, "gpu": os.environ.get("CUDA_VISIBLE_DEVICES"),
                                          "wandb": os.environ.get("WANDB_MODE")}))
if options["x"] == "2" and not pathlib.Path("fixed").exists():
    print("on its way")
    sys.exit("two is bad")
slow = pathlib.Path("slow")
if slow.exists() and options["x"] in slow.read_text() and "ckpt_path" not in options:
    def save(*_):
        (run / "checkpoints").mkdir()
        (run / "checkpoints" / "last.ckpt").write_text("")
        sys.exit(130)
    signal.signal(signal.SIGINT, save)
    pathlib.Path("started").write_text(str(os.getpid()))
    time.sleep(60)
(run / "results.json").write_text(json.dumps({"metrics": {"val/score": float(options["x"]), "val/pa_epe_mm": 5}}))
"""

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a sweep of the stand-in, and goes to its folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "program.py").write_text(PROGRAM)

    def write(**changes: Any) -> Path:
        given = {
            "method": "grid",
            "metric": {"name": "val/score", "goal": "maximize"},
            "command": ["${env}", "${interpreter}", "program.py", "${args}"],
            "parameters": {"x": {"values": [1, 2, 3]}},
        } | changes
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump(given, sort_keys=False))
        return path

    return write


def rows(out: Path) -> dict[str, dict[str, Any]]:
    return {row["run"]: row for row in json.loads((out / "sweep.json").read_text())["rows"]}


def test_a_grid_of_a_billion_is_planned_up_to_its_cap_or_refused(write: Write) -> None:
    parameters = {name: {"min": 1, "max": 1_000} for name in "abc"} | {"d": {"values": [5, 5, 6]}}
    runs = read_sweep(write(parameters=parameters, run_cap=3)).runs()
    assert list(runs.values()) == [
        {"a": 1, "b": 1, "c": 1, "d": 5},
        {"a": 1, "b": 1, "c": 1, "d": 6},
        {"a": 1, "b": 1, "c": 2, "d": 5},
    ]
    with pytest.raises(ValueError, match="a grid of 2,000,000,000 runs; give run_cap"):
        read_sweep(write(parameters=parameters)).runs()


def test_a_grid_has_every_combination_once(write: Write) -> None:
    parameters = {"x": {"values": [1, 2]}, "y": {"min": 3, "max": 5}, "z": {"value": "all"}}
    runs = read_sweep(write(parameters=parameters)).runs()
    assert [*runs.values()] == [{"x": x, "y": y, "z": "all"} for x in (1, 2) for y in (3, 4, 5)]


def test_random_search_draws_within_bounds_and_repeats_with_its_seed(write: Write) -> None:
    parameters = {
        "rate": {"distribution": "log_uniform_values", "min": 1e-5, "max": 1e-1},
        "margin": {"distribution": "q_uniform", "min": 1.0, "max": 1.6, "q": 0.1},
        "scale": {"min": 0.5, "max": 2.0},
        "epochs": {"distribution": "int_uniform", "min": 0, "max": 3},
        "kind": {"values": ["a", "b"], "probabilities": [0.9, 0.1]},
    }
    sweep = read_sweep(write(method="random", parameters=parameters))
    planned = sweep.runs(400, seed=1)
    runs = [*planned.values()]
    assert planned == sweep.runs(400, seed=1) != sweep.runs(400, seed=2)
    assert [*sweep.runs(10, seed=1).items()] == [*planned.items()][:10], "more runs keep those there were"
    assert all(1e-5 <= run["rate"] <= 1e-1 and 0.5 <= run["scale"] <= 2.0 for run in runs)
    assert 150 < sum(run["rate"] < 1e-3 for run in runs) < 250, "half of the draws are in half of the decades"
    assert {run["margin"] for run in runs} == {1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6}
    assert {run["epochs"] for run in runs} == {0, 1, 2, 3}
    assert 320 < sum(run["kind"] == "a" for run in runs) < 390


def test_seeds_are_drawn_from_all_there_are_without_a_list_of_them(write: Write) -> None:
    sweep = read_sweep(write(method="random", parameters={"seed": {"min": 0, "max": 2**32 - 1}}))
    seeds = {run["seed"] for run in sweep.runs(20).values()}
    assert len(seeds) == 20
    assert 2**30 < max(seeds) < 2**32


def test_random_search_does_not_repeat_a_run(write: Write) -> None:
    sweep = read_sweep(write(method="random", run_cap=50))
    assert sorted(run["x"] for run in sweep.runs().values()) == [1, 2, 3]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"method": "gird"}, "method is 'gird'; expected one of grid, random, bayes; did you mean grid?"),
        ({"method": "random"}, "run_cap"),
        ({"method": "bayes"}, "run_cap"),
        (
            {"method": "bayes", "run_cap": 2, "parameters": {"x": {"values": [1, 2], "probabilities": [0.5, 0.5]}}},
            "probabilities",
        ),
        ({"early_terminate": {"type": "envelope", "min_iter": 1}}, "hyperband"),
        ({"early_terminate": {"type": "hyperband"}}, "min_iter"),
        ({"early_terminate": {"type": "hyperband", "max_iter": 9}}, "max_iter and s"),
        ({"metric": None}, "metric"),
        ({"command": ["${interpreter}", "program.py"]}, "${args}"),
        ({"command": ["${args_json}", "${args}"]}, "${args_json}"),
        ({"parameters": {"x": {"min": 0.0, "max": 1.0}}}, "grid needs values"),
        ({"parameters": {"x": {"values": []}}}, "parameter x"),
        ({"parameters": {"x": {"values": [None]}}}, "'null'"),
        ({"parameters": {"x": {"parameters": {"y": {"value": 1}}}}}, "nested"),
        ({"parameters": {"x": {"distribution": "beta", "a": 1, "b": 1}}}, "beta"),
        ({"parameters": {"x": {"distribution": "uniform", "min": "1e-3", "max": 1}}}, "1.0e-3"),
        ({"parameters": {"x": {"distribution": "log_uniform_values", "min": 0, "max": 1}}}, "0 < min"),
        ({"parameters": {"x": {"distribution": "uniform", "min": 2, "max": 1}}}, "min ≤ max"),
        ({"parameters": {"x": {"values": [1, 2], "probabilities": 0.5}}}, "sum to 1"),
        ({"parameters": {"x": {"values": [1, 2], "probabilities": [0.5, 0.4]}}}, "sum to 1"),
        ({"parameters": {"x": {"distribution": "q_uniform", "min": 1, "max": 2, "q": 0}}}, "q > 0"),
        ({"parameters": {"x": {"values": [datetime.date(2020, 1, 2)]}}}, "quotes"),
        ({"parameters": {"--x": {"value": 1}}}, "without dashes"),
        ({"parameters": {"x": {"min": 1, "max": 10**400}}}, "expected {value"),
        (
            {"parameters": {"x": {"distribution": "q_uniform", "min": 1.0, "max": 1e308, "q": 1e-308}}},
            "expected {value",
        ),
        (
            {"parameters": {"x": {"distribution": "q_uniform", "min": 1.0, "max": 2.0, "q": math.inf}}},
            "expected {value",
        ),
        ({"method": "random", "run_cap": 10**9}, "1,000,000,000 runs"),
        ({"parameters": {"x": {"min": 0, "max": 10**9}}, "run_cap": 10**8}, "100,000,000 runs"),
        ({"paramters": {}}, "paramters"),
    ],
)
def test_what_is_no_sweep_is_refused_with_its_reason(
    write: Write, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], said: str
) -> None:
    assert main(["sweep", str(write(**changes))]) == 2
    assert said in capsys.readouterr().err
    assert not Path("runs").exists()


def test_a_metric_by_its_old_name_is_that_of_present_runs_and_of_those_that_logged_it_so(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    aliases._report.cache_clear()
    old, now = "probe/epe_mm", "probe/root_relative_epe_mm"
    path = str(write(metric={"name": old}, parameters={"x": {"values": [3, 1]}}))
    for name in (old, now):
        Path("program.py").write_text(PROGRAM.replace("val/score", name))
        noted = Path(name.partition("/")[2], "sweep.json")
        for _ in range(2):
            assert main(["sweep", path, f"--out={noted.parent}"]) == 0
            content = json.loads(noted.read_text())
            assert content["metric"] == {"name": now, "goal": "minimize"}
            assert [(row["run"], row["root_relative_epe_mm"]) for row in content["rows"]] == [("x=1", 1), ("x=3", 3)]
            # again from what version 0.1 would have noted
            noted.write_text(noted.read_text().replace(now, old))
            noted.with_name("study.journal").unlink()
    assert capsys.readouterr().err.count(f"uses the old name {old}: now {now}") == 1


def test_no_such_sweep(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["sweep", str(tmp_path / "none.yaml")]) == 2
    assert "none.yaml" in capsys.readouterr().err


def test_overrides_take_the_place_of_constants_and_not_of_what_varies(write: Write) -> None:
    sweep = read_sweep(write(parameters={"x": {"values": [1, 2]}, "root": {"value": "here"}}))
    changed = sweep.with_options(["--root=there", "--epochs=3"])
    assert changed.words(changed.runs()["x=1"])[-4:] == ["program.py", "--x=1", "--root=there", "--epochs=3"]
    with pytest.raises(ValueError, match="varies x"):
        sweep.with_options(["--x=5"])
    with pytest.raises(ValueError, match="--name=value"):
        sweep.with_options(["epochs", "3"])


def test_folders_are_named_by_what_runs_differ_in(write: Write) -> None:
    weights = ["runs/a/checkpoints/last.ckpt", "runs/b/checkpoints/last.ckpt", "null"]
    parameters = {"model.weights": {"values": weights}, "model.lr": {"values": [1e-4, 0.5]}, "root": {"value": "x"}}
    sweep = read_sweep(write(parameters=parameters))
    assert [*sweep.runs()] == [f"weights={name},lr={rate}" for name in ("a", "b", "null") for rate in ("0.0001", "0.5")]
    alike = read_sweep(write(parameters={"x": {"values": ["a/b", "c/b", "d" * 300]}}))
    assert len({name[:140] for name in alike.runs()}) == 3


def test_a_failing_run_does_not_stop_the_others_and_is_named(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    out = Path("runs/sweeps/study")
    assert main(["sweep", str(write())]) == 1
    table = capsys.readouterr().out
    ranks = [line.split()[:2] for line in table.splitlines() if line.startswith(("1  ", "2  ", "-  "))]
    assert ranks == [["1", "3"], ["2", "1"], ["-", "2"]], "the metric is to be maximized, and failures come last"
    statuses = {name: row["status"] for name, row in rows(out).items()}
    assert statuses == {"x=1": "finished", "x=2": "failed", "x=3": "finished"}
    assert rows(out)["x=2"]["error"] == "two is bad"
    assert "on its way" in (out / "logs" / "x=2.log").read_text()
    with (out / "sweep.csv").open() as file:
        scores = [(row["run"], row["val/score"]) for row in csv.DictReader(file)]
    assert scores == [("x=3", "3.0"), ("x=1", "1.0"), ("x=2", "")]


def test_rows_are_called_by_what_varies_beside_labels_and_seeds(write: Write) -> None:
    parameters = {"x": {"values": [1, 3]}, "data.root": {"value": "here"}, "data.seed": {"values": [0, 1]}}
    assert main(["sweep", str(write(parameters=parameters)), "--out=out"]) == 0
    named = {(row["protocol"], row["weights"], row["seed"]) for row in rows(Path("out")).values()}
    assert named == {("study", f"x={x}", seed) for x in (1, 3) for seed in (0, 1)}


def test_run_again_finished_runs_are_skipped_and_failed_ones_begin_anew(write: Write) -> None:
    out, path = Path("out"), str(write())
    assert main(["sweep", path, "--out=out"]) == 1
    before = (out / "x=1" / "options.json").stat().st_mtime_ns
    Path("fixed").touch()
    assert main(["sweep", path, "--out=out"]) == 0
    assert (out / "x=1" / "options.json").stat().st_mtime_ns == before
    assert {name: row["attempts"] for name, row in rows(out).items()} == {"x=1": 1, "x=2": 2, "x=3": 1}
    assert (out / "x=2.aside1" / "options.json").is_file(), "nothing is deleted"


def test_a_sweep_that_grows_does_only_what_is_new(write: Write) -> None:
    Path("fixed").touch()
    assert main(["sweep", str(write()), "--max-runs=1", "--out=out"]) == 0
    assert list(rows(Path("out"))) == ["x=1"]
    assert main(["sweep", str(write(parameters={"x": {"values": [1, 2, 4]}})), "--out=out"]) == 0
    assert {name: row["attempts"] for name, row in rows(Path("out")).items()} == {"x=4": 1, "x=2": 1, "x=1": 1}


def test_another_sweeps_folder_is_refused(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", str(write()), "--max-runs=1", "--out=out"]) == 0
    assert main(["sweep", str(write()), "--max-runs=1", "--out=out", "--epochs=9"]) == 2
    assert "--epochs=9" in capsys.readouterr().err
    Path("mine").mkdir()
    (Path("mine") / "notes.txt").touch()
    assert main(["sweep", str(write()), "--out=mine"]) == 2


def test_every_run_at_a_time_has_a_gpu_of_its_own(write: Write) -> None:
    Path("fixed").touch()
    parameters = {"x": {"values": list(range(6))}}
    assert main(["sweep", str(write(parameters=parameters)), "--out=out", "--gpus=4,7"]) == 0
    used = {json.loads(path.read_text())["gpu"] for path in Path("out").glob("*/options.json")}
    assert used == {"4", "7"}


@pytest.mark.parametrize("gpus", ["0,", ",1", "0,,1"])
def test_a_run_without_a_gpu_of_its_own_is_refused(write: Write, gpus: str) -> None:
    assert main(["sweep", str(write()), f"--gpus={gpus}", "--out=out"]) == 2
    assert not Path("out").exists()


def test_no_run_waits_for_an_account_unless_asked_to(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    assert main(["sweep", str(write()), "--max-runs=1", "--out=plain"]) == 0
    monkeypatch.setenv("WANDB_MODE", "online")
    assert main(["sweep", str(write()), "--max-runs=1", "--out=online"]) == 0
    modes = [json.loads(Path(out, "x=1", "options.json").read_text())["wandb"] for out in ("plain", "online")]
    assert modes == ["offline", "online"]


def test_runs_of_wandbs_agents_have_folders_of_their_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from peclr.runs.folder import choose_run_folder

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_SWEEP_ID", "s1")
    chosen = []
    for run in ("r1", "r2"):
        monkeypatch.setenv("WANDB_RUN_ID", run)
        chosen.append(choose_run_folder(None, "pretrain", None).path)
    assert chosen == [Path("runs/sweeps/s1/r1"), Path("runs/sweeps/s1/r2")]


def test_a_dry_run_prints_commands_and_does_nothing(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", str(write()), "--dry-run"]) == 0
    words = [line.split()[-2:] for line in capsys.readouterr().out.splitlines()]
    assert words == [[f"--x={x}", f"--run_dir=runs/sweeps/study/x={x}"] for x in (1, 2, 3)]
    assert not Path("runs").exists()


def statuses(out: Path) -> dict[str, str]:
    return {name: row["status"] for name, row in rows(out).items()}


@contextmanager
def working(path: str) -> Iterator[subprocess.Popen[bytes]]:
    """A sweep in a process of its own, whose run of x=1 has begun and goes on for a minute."""
    Path("slow").write_text("1")
    package = str(Path(__file__).parents[1])
    words = [sys.executable, "-m", "peclr", "sweep", path, "--out=out"]
    with subprocess.Popen(words, env={**os.environ, "PYTHONPATH": package}, stderr=subprocess.DEVNULL) as sweep:
        while not Path("started").exists() or not Path("started").read_text():
            assert sweep.poll() is None
            time.sleep(0.02)
        yield sweep
    Path("slow").unlink()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_sweep_saves_its_runs_and_goes_on(write: Write, number: signal.Signals, status: int) -> None:
    path = str(write(parameters={"x": {"values": [1, 3]}}))
    with working(path) as sweep:
        sweep.send_signal(number)
        assert sweep.wait() == status
    assert statuses(Path("out")) == {"x=1": "interrupted", "x=3": "waiting"}
    assert main(["sweep", path, "--out=out"]) == 0
    options = json.loads(Path("out/x=1/options.json").read_text())
    assert options["ckpt_path"] == "out/x=1/checkpoints/last.ckpt"
    assert statuses(Path("out")) == {"x=1": "finished", "x=3": "finished"}


def test_an_error_of_the_sweep_itself_stops_its_runs_in_order(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("slow").write_text("1")

    def note(study: Study, claim: Claim) -> None:
        claim.file.close()
        while not Path("started").exists():
            time.sleep(0.02)
        raise OSError(errno.ENOSPC, "no space left", "sweep.json")

    monkeypatch.setattr(Study, "note", note)
    assert main(["sweep", str(write(parameters={"x": {"values": [1, 3]}})), "--jobs=2", "--out=out"]) == 2
    assert Path("out/x=1/checkpoints/last.ckpt").exists()


def test_a_run_that_cannot_be_watched_is_stopped_in_order(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("slow").write_text("1")
    path = str(write(parameters={"x": {"values": [1, 3]}}))

    def keep(study: Study, claim: Claim) -> bool:
        if claim.outcome.run == "x=1" and claim.outcome.status == "running" and Path("started").exists():
            raise OSError(errno.ESTALE, "stale file handle", "held")
        return True

    with monkeypatch.context() as patch:
        patch.setattr(Study, "keep", keep)
        patch.setattr("peclr.sweeps.runner.LOOK_SECONDS", 0.1)
        assert main(["sweep", path, "--out=out"]) == 1
    assert statuses(Path("out")) == {"x=1": "failed", "x=3": "finished"}
    assert Path("out/x=1/checkpoints/last.ckpt").exists()
    assert main(["sweep", path, "--out=out"]) == 0


def test_processes_in_one_folder_share_its_runs(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(write(parameters={"x": {"values": [1, 3, 4]}}))
    with working(path) as sweep:
        assert main(["sweep", path, "--out=out"]) == 1, "not all runs have finished"
        assert statuses(Path("out")) == {"x=1": "running", "x=3": "finished", "x=4": "finished"}
        assert "goes on elsewhere" in capsys.readouterr().out
        sweep.send_signal(signal.SIGINT)
    assert main(["sweep", path, "--out=out"]) == 0
    assert {name: row["attempts"] for name, row in rows(Path("out")).items()} == {"x=1": 2, "x=3": 1, "x=4": 1}


@pytest.mark.slow
def test_a_run_whose_process_was_killed_is_run_again(write: Write) -> None:
    path = str(write(parameters={"x": {"values": [1, 3]}}))
    with working(path) as sweep:
        sweep.kill()
        sweep.wait()
        assert main(["sweep", path, "--out=out"]) == 1
        assert statuses(Path("out")) == {"x=1": "running", "x=3": "finished"}, "the run goes on by itself"
        os.killpg(int(Path("started").read_text()), signal.SIGKILL)
    assert main(["sweep", path, "--out=out"]) == 0
    assert statuses(Path("out")) == {"x=1": "finished", "x=3": "finished"}


def test_a_run_of_another_machine_is_believed_while_it_shows_that_it_is_alive(tmp_path: Path) -> None:
    path = tmp_path / "held" / "x=1"
    assert not is_held(path)
    with hold(path):
        assert is_held(path), "by this process"
    assert not is_held(path), "its lock is gone"
    path.write_text("another machine")
    assert is_held(path), "whose locks may not be seen here"
    long_ago = path.stat().st_mtime - 2 * STALE_SECONDS
    os.utime(path, (long_ago, long_ago))
    assert not is_held(path)


def test_values_do_not_depend_on_how_many_run_at_once(write: Write) -> None:
    parameters = {
        "x": {"distribution": "q_uniform", "min": 3, "max": 4, "q": 0.1},
        "kind": {"values": ["a", "b"], "probabilities": [0.9, 0.1]},
    }
    path = str(write(method="random", run_cap=4, parameters=parameters))
    for jobs in (1, 3):
        assert main(["sweep", path, f"--jobs={jobs}", f"--out={jobs}"]) == 0
    one, three = ({name: row["values"] for name, row in rows(Path(out)).items()} for out in ("1", "3"))
    assert one == three
    assert len(one) == 4


def searched(sweep: Sweep, out: Path, runs: int) -> list[float]:
    """Do a few runs of a search without their processes; returns its choices of x so far."""
    study = Study(sweep, out, max_runs=None, seed=1)
    for _ in range(runs):
        claim = study.claim()
        assert claim is not None
        claim.outcome.status, claim.outcome.metrics = "finished", {"val/score": claim.outcome.values["x"]}
        study.note(claim)
    return [outcome.values["x"] for outcome in study.outcomes]


def test_bayes_search_follows_the_results(write: Write) -> None:
    given: dict[str, Any] = {"method": "bayes", "run_cap": 18, "parameters": {"x": {"min": 0.0, "max": 1.0}}}
    chosen = {}
    for goal in ("minimize", "maximize"):
        sweep = read_sweep(write(**given, metric={"name": "val/score", "goal": goal}))
        chosen[goal] = searched(sweep, Path(goal), 18)
    low, high = chosen.values()
    assert low[:10] == high[:10], "with the same seed, before anything is known"
    assert sum(low[10:]) / 8 < 0.35 < 0.65 < sum(high[10:]) / 8
    searched(sweep, Path("parts"), 3)
    searched(sweep, Path("parts"), 8)
    assert searched(sweep, Path("parts"), 7) == high, "a search that goes on chooses as one that was not stopped"
    assert Study(sweep, Path("parts"), max_runs=None, seed=1).claim() is None, "run_cap"


def test_bayes_search_rounds_and_takes_what_optuna_does_not(write: Write) -> None:
    parameters = {
        "x": {"distribution": "q_log_uniform_values", "min": 8, "max": 512, "q": 8},
        "betas": {"values": [[0.9, 0.99], [0.9, 0.999]]},
        "depth": {"min": 1, "max": 3},
        "root": {"value": "here"},
    }
    sweep = read_sweep(write(method="bayes", run_cap=12, parameters=parameters))
    searched(sweep, Path("out"), 12)
    values = [row["values"] for row in rows(Path("out")).values()]
    assert all(isinstance(given["x"], int) and given["x"] % 8 == 0 and 8 <= given["x"] <= 512 for given in values)
    assert {json.dumps(given["betas"]) for given in values} == {"[0.9, 0.99]", "[0.9, 0.999]"}
    assert {given["depth"] for given in values} == {1, 2, 3}
    assert {given["root"] for given in values} == {"here"}


def test_runs_of_bayes_search_are_run_and_gone_on_with(write: Write) -> None:
    path = str(write(method="bayes", parameters={"x": {"values": [2, 3]}}))
    assert main(["sweep", path, "--out=out", "--max-runs=4"]) == 1
    before = {name: row["values"] for name, row in rows(Path("out")).items()}
    assert len(before) == 4
    Path("fixed").touch()
    assert main(["sweep", path, "--out=out", "--max-runs=4"]) == 0
    assert {name: row["values"] for name, row in rows(Path("out")).items()} == before
    assert main(["sweep", path, "--dry-run"]) == 2


# Logs a score three times; x is its score, and what is 1 goes on until it is asked to stop.
EPOCHS = """
import json, pathlib, signal, sys, time
options = dict(word[2:].split("=", 1) for word in sys.argv[1:])
run = pathlib.Path(options["run_dir"])
run.mkdir(parents=True)
with open(run / "metrics.csv", "w") as file:
    print("epoch,step,val/score,train/loss", file=file)
    for step in range(3):
        print(f"{step},{step},{options['x']},", f"{step},{step},,0.5", sep=chr(10), file=file)
if options["x"] == "1":
    def save(*_):
        (run / "saved").touch()
        sys.exit(130)
    signal.signal(signal.SIGINT, save)
    time.sleep(60)
(run / "results.json").write_text(json.dumps({"metrics": {"val/score": float(options["x"])}}))
"""


@pytest.mark.parametrize("early", [{"min_iter": 2}, {"max_iter": 18, "s": 2}])
def test_early_termination_stops_a_run_that_lags_behind(
    write: Write, monkeypatch: pytest.MonkeyPatch, early: dict[str, int]
) -> None:
    monkeypatch.setattr("peclr.sweeps.runner.LOOK_SECONDS", 0.1)
    path = str(write(parameters={"x": {"values": [3, 1]}}, early_terminate={"type": "hyperband", **early}))
    Path("program.py").write_text(EPOCHS)
    assert main(["sweep", path, "--out=out"]) == 0
    assert statuses(Path("out")) == {"x=3": "finished", "x=1": "pruned"}
    assert rows(Path("out"))["x=1"]["metrics"] == {"val/score": 1.0}
    assert Path("out/x=1/saved").exists(), "it was asked, not killed"
    assert main(["sweep", path, "--out=out"]) == 0, "it is done with"


def test_a_run_that_diverges_is_stopped_and_noted(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peclr.sweeps.runner.LOOK_SECONDS", 0.1)
    path = str(write(parameters={"x": {"values": [1]}}, early_terminate={"type": "hyperband", "min_iter": 2}))
    Path("program.py").write_text(EPOCHS.replace("{step},{options['x']}", "{step},nan"))
    assert main(["sweep", path, "--out=out"]) == 0
    assert statuses(Path("out")) == {"run": "pruned"}
    assert rows(Path("out"))["run"]["metrics"] == {"val/score": None}


def test_a_run_that_was_taken_for_dead_is_the_others(write: Write) -> None:
    sweep = read_sweep(write(parameters={"x": {"values": [1]}}, early_terminate={"type": "hyperband", "min_iter": 1}))
    ours = Study(sweep, Path("out"), max_runs=None, seed=0)
    claim = ours.claim()
    assert claim is not None
    assert ours.keep(claim)
    Path("out/held/run").unlink()  # as if this machine had slept, and its lock could not be seen
    theirs = Study(sweep, Path("out"), max_runs=None, seed=0)
    again = theirs.claim()
    assert again is not None
    assert not ours.keep(claim)
    Path("out/run").mkdir()
    Path("out/run/metrics.csv").write_text("val/score\n1.0\n2.0\n")
    assert not ours.is_hopeless(claim)
    claim.outcome.status = "failed"
    ours.note(claim)
    assert statuses(Path("out")) == {"run": "running"}
    again.outcome.status, again.outcome.metrics = "finished", {"val/score": 1.0}
    theirs.note(again)
    assert statuses(Path("out")) == {"run": "finished"}


def test_a_folder_of_version_0_1_is_read_and_gone_on_with(write: Write) -> None:
    write()
    old = Path(__file__).parent / "reference" / "sweep_v0.1"
    Path("out").mkdir()
    shutil.copy(old / "sweep.json", "out")
    before = rows(Path("out"))
    Path("program.py").write_text(PROGRAM.replace('options["x"]', 'options["margin"]'))
    assert main(["sweep", str(old / "study.yaml"), "--out=out", "--seed=3"]) == 0
    after = rows(Path("out"))
    assert len(before) == 6
    assert list(map(short, sorted(after.keys() - before.keys()))) == ["006,rate=0.01907", "007,rate=0.0008293"]
    for name, row in before.items():
        again = row["status"] in ("failed", "interrupted")
        assert after[name]["values"] == row["values"]
        assert after[name]["attempts"] == row["attempts"] + again
        assert again or after[name] == row


def test_a_link_in_a_sweeps_folder_is_not_written_through(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(write(parameters={"x": {"values": [1]}}))
    Path("out").mkdir()
    Path("out/study.journal").symlink_to(Path("outside").absolute())
    assert main(["sweep", path, "--out=out"]) == 2
    assert "study.journal is a link" in capsys.readouterr().err
    assert not Path("outside").exists()


def test_a_damaged_journal_is_named_and_can_be_done_without(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(write(parameters={"x": {"values": [1, 3]}}))
    assert main(["sweep", path, "--out=out"]) == 0
    with Path("out/study.journal").open("a") as journal:
        journal.write('{"op_code": 3, "worker')
        journal.write('{"op_code": 4}\n')
    assert main(["sweep", path, "--out=out"]) == 2
    assert "study.journal is damaged" in capsys.readouterr().err
    Path("out/study.journal").unlink()
    assert main(["sweep", path, "--out=out"]) == 0
    assert {row["attempts"] for row in rows(Path("out")).values()} == {1}


def short(name: str) -> str:
    return ",".join(name.split(",")[:2])


def test_a_sweep_runs_for_real(rendered_hands: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "labels.yaml"
    sweep = {
        "method": "grid",
        "metric": {"name": "val/pa_epe_mm"},
        "command": ["${env}", "${interpreter}", "-m", "peclr", "fit", f"--config={CONF / 'finetune.yaml'}", "${args}"],
        "parameters": {"data.root": {"value": "data/embedded"}, "data.num_labels": {"values": [4, 8]}},
    }
    path.write_text(yaml.safe_dump(sweep))
    words = ["sweep", str(path), f"--out={tmp_path / 'out'}", "--max-runs=1", f"--data.root={rendered_hands}"]
    assert main(words) == 0
    assert "finished" in capsys.readouterr().out
    found = rows(tmp_path / "out")
    assert [*found] == ["num_labels=4"]
    row, results = found["num_labels=4"], json.loads((tmp_path / "out" / "num_labels=4" / "results.json").read_text())
    assert row["labels"] == 4
    assert row["pa_epe_mm"] == row["metrics"]["val/pa_epe_mm"] == results["metrics"]["val/pa_epe_mm"] > 0
    assert main(words) == 0
    assert rows(tmp_path / "out")["num_labels=4"]["attempts"] == 1
