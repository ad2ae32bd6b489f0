"""What `make gpu` does without a GPU: budgets, results that go on, goals, and all of it once at toy size."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.gpu.__main__ import end_group, main
from tests.gpu.carry import lacking
from tests.gpu.fits import rates
from tests.gpu.parts import Goal, Results, Row, Work, do, judge, share_of_peak
from tests.gpu.science import pack_finished, unpack
from tests.gpu.steps import flops_per_view

ROOT = Path(__file__).parents[2]
HERE = {"host": "h", "card": None, "torch": "2"}


def works(log: list[str], **runs: Callable[[], Row]) -> list[Work]:
    def noting(name: str, run: Callable[[], Row]) -> Callable[[], Row]:
        return lambda: log.append(name) or run()  # type: ignore[func-returns-value]  # None, then the row

    return [Work(name, 1.0, noting(name, run)) for name, run in runs.items()]


def test_results_go_on_where_they_were(tmp_path: Path) -> None:
    path, log = tmp_path / "out" / "part.json", list[str]()

    def fails() -> Row:
        raise RuntimeError("out of memory")

    do(works(log, a=lambda: {"x": 1}, b=fails, c=lambda: {"x": 3}), Results(path, HERE), time.time() + 100)
    rows = json.loads(path.read_text())["rows"]
    assert (rows["a"]["x"], rows["b"]["error"], rows["c"]["x"]) == (1, "RuntimeError: out of memory", 3)
    do(works(log, a=fails, b=lambda: {"x": 2}, c=fails), Results(path, HERE), time.time() + 100)
    assert log == ["a", "b", "c", "b"]
    assert [row["x"] for row in json.loads(path.read_text())["rows"].values()] == [1, 2, 3]
    assert [file.name for file in path.parent.iterdir()] == ["part.json"]


def test_what_does_not_fit_is_left_out_and_done_next_time(tmp_path: Path) -> None:
    path, log = tmp_path / "part.json", list[str]()
    long = [Work("long", 1000.0, lambda: {"x": 1}), *works(log, short=lambda: {"x": 2})]
    do(long, Results(path, HERE), time.time() + 100)
    rows = json.loads(path.read_text())["rows"]
    assert rows["long"]["left_out"].startswith("takes about 1000 s")
    assert rows["short"]["x"] == 2
    do(long, Results(path, HERE), time.time() + 2000)
    assert json.loads(path.read_text())["rows"]["long"]["x"] == 1
    assert log == ["short"]


def test_what_is_stopped_is_left_out(tmp_path: Path) -> None:
    def stopped() -> Row:
        raise SystemExit(143)

    with pytest.raises(SystemExit):
        do([Work("long", 1.0, stopped)], Results(tmp_path / "part.json", HERE), time.time() + 100)
    assert not Results(tmp_path / "part.json", HERE).done("long")
    assert "left_out" in Results(tmp_path / "part.json", HERE).rows["long"]


def test_numbers_of_two_machines_are_not_mixed(tmp_path: Path) -> None:
    Results(tmp_path / "part.json", HERE).put("a", {"x": 1})
    with pytest.raises(ValueError, match=r"part\.json was measured on .*choose another --out"):
        Results(tmp_path / "part.json", {**HERE, "card": "NVIDIA H200"})


def test_goals() -> None:
    goals = [Goal("fast", "a", "rate", "≥ 10"), Goal("small", "a", "bytes", "≤ 5"), Goal("no row", "b", "rate", "≥ 1")]
    rows = {"a": {"rate": 12.0, "bytes": 6}}
    assert [row["met"] for row in judge(goals, rows, measured=True)] == [True, False, None]
    assert [row["met"] for row in judge(goals, rows, measured=False)] == [None] * 3


def test_share_of_peak() -> None:
    assert share_of_peak(15_000, 8e9, "NVIDIA H200") == pytest.approx(0.1213, abs=1e-4)
    assert share_of_peak(1e3, 1e12, "NVIDIA H100 80GB HBM3") == pytest.approx(1e15 / 989e12)
    assert share_of_peak(1e3, 1e12, "NVIDIA H200 NVL") == pytest.approx(1e15 / 835e12)
    assert [share_of_peak(15_000, 8e9, card) for card in ("another", None)] == [None, None]


def test_a_part_that_does_not_end_is_ended_with_its_children(tmp_path: Path) -> None:
    child = "import time, pathlib, signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    child += f"pathlib.Path({str(tmp_path / 'begun')!r}).touch(); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", child], start_new_session=True)
    while not (tmp_path / "begun").exists():
        time.sleep(0.01)
    end_group(process, grace=0.1)
    assert process.poll() is not None


def test_unknown_parts_and_a_missing_gpu_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--dry", "--only", "correctness,speed"])
    assert "no part speed; there are correctness, throughput, science" in capsys.readouterr().err


def test_rates_are_of_the_time_between_marks() -> None:
    row = rates([(10.0, 30, 1.0), (12.0, 40, 1.5), (15.0, 50, 2.0)], views=6)
    assert row == {"views_per_s": 24, "spread": pytest.approx(10 / 25), "data_wait": pytest.approx(0.2)}


def test_flops_are_those_of_the_published_network() -> None:
    """4.09 · 10⁹ multiply-adds at 224 px (torchvision's table); backwards is twice forwards."""
    assert flops_per_view("resnet50", 1.0, 224) == pytest.approx(3 * 2 * 4.09e9, rel=0.02)


def test_what_is_carried_of_an_experiment_needs_no_weights(tmp_path: Path) -> None:
    folder = tmp_path / "science"
    scored = ["seed0/done/probe.json", "seed0/done/finetune-short-300.json", "seed0/begun/probe.json"]
    pretrained = ["seed0/done/pretrain.json", "seed0/begun/pretrain.json", "seed0/done/run/a.ckpt"]
    for name in ["plan.json", *scored, *pretrained]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("[]")
    pack_finished(folder, 2, tmp_path / "science.tar")
    unpack(tmp_path / "science.tar", tmp_path / "elsewhere")
    found = {str(path.relative_to(tmp_path / "elsewhere")) for path in (tmp_path / "elsewhere").rglob("*.*")}
    assert found == {"plan.json", *scored, "seed0/done/pretrain.json"}


def test_what_lacks_is_pinned_and_not_what_images_for_pytorch_have() -> None:
    names = {line.partition("==")[0] for line in lacking()}
    assert {"albumentations", "jsonargparse", "docstring_parser", "orjson", "lightly"} <= names
    assert not names & {"torch", "numpy", "scipy", "pytest", "onnxruntime", "peclr"}


@pytest.mark.slow
def test_everything_runs_at_toy_size(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.gpu", "--dry", "--out=out"]
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    parts = json.loads((tmp_path / "out" / "gpu.json").read_text())
    assert list(parts) == ["correctness", "throughput", "science"]
    assert [row for part in parts.values() for row in part["rows"].values() if "left_out" in row] == []
    assert {goal["met"] for goal in parts["throughput"]["goals"]} == {None}, "a CPU meets no goal of a GPU"
    assert parts["correctness"]["machine"]["card"] is None
