"""Experiments on rendered hands: every arm is a valid run, a small one runs and goes on, tables say mean and spread."""

import json
import math
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from contextlib import nullcontext
from dataclasses import replace
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
import yaml
from matplotlib.figure import Figure
from pytorch_lightning.loggers import Logger
from tqdm import tqdm

from experiments.real import run as real
from experiments.rendered import jobs as rendered_jobs
from experiments.rendered import run as rendered
from experiments.rendered import summary
from experiments.rendered.jobs import Job, jobs_of, probe, stages_of, timed
from experiments.rendered.plan import PRETRAIN, SIZES, SUITES, Arm, Suite, read_suite
from experiments.rendered.progress import COUNTED, Task, remaining, show, steps_of
from experiments.rendered.summary import changes, draw, over_seeds, table
from peclr.sweeps.lock import hold
from peclr.training import precision


class Here(Executor):
    """Works at once, in this process, where others would first have to import everything."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **options: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        future.set_result(function(*arguments, **options))
        return future


ROOT = Path(__file__).parents[2]
PATHS = sorted([*SUITES.glob("*.yaml"), *real.SUITES.glob("*.yaml")])


def pretraining_of(suite: Suite) -> list[Job]:
    return [job for job in jobs_of(suite, 3, SIZES[suite.size], Path("hands"), Path("out")) if job.arm.pretrains]


def test_the_makefile_knows_the_hands_of_the_demo() -> None:
    assert f"\nHANDS = {rendered.folder_of_hands(SIZES['demo'])}\n" in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize(
    "path", [path for path in PATHS if path.stem != "recipe"], ids=lambda path: "-".join(path.parts[-3:])
)
def test_every_arm_is_a_valid_run_of_its_own(path: Path, parse: Callable[[list[str]], Any]) -> None:
    suite = read_suite(path.stem, path.parent)
    jobs = pretraining_of(suite)
    parsed = [parse(job.pretraining()) for job in jobs]
    assert len({str(config) for config in parsed}) == len(jobs), "two arms are the same run"
    assert len({arm.folder for arm in suite.arms}) == len(suite.arms), "two arms share a folder"
    for job, config in zip(jobs, parsed, strict=True):  # also where an arm names a class of its own
        model, data = config.model.init_args, config.data.init_args
        size = job.size
        assert (model.encoder.init_args.width, model.weight_decay, data.border) == (size.width, 1e-4, "reflect")
        assert (data.seed, data.batch_size) == (3, size.pretrain_batch)
        assert config.trainer.max_steps == (5000 if "5,000" in job.arm.name else size.pretrain_steps)
        assert data.view_size == SIZES[suite.size].view_px * (2 if "96" in job.arm.name else 1)
        temperatures = set(re.findall(r"temperature=([\d.]+)", str(model.objective)))
        if suite.name == "wins" and model.objective.class_path.split(".")[-1] != "VICReg":
            assert temperatures == {job.arm.name.partition("temperature ")[2] or "0.1"}, "one change at a time"
        images = data.epoch_length or size.train * (size.versions if data.pairing == "same_image" else 1)
        assert model.warmup_epochs * (images // size.pretrain_batch) == pytest.approx(size.warmup_steps)


def test_every_arm_of_the_recipe_is_valid_and_unlike_the_others(parse: Callable[[list[str]], Any]) -> None:
    suite = read_suite("recipe")
    size, jobs = SIZES[suite.size], pretraining_of(suite)
    assert len({arm.overrides for arm in suite.arms}) == len({arm.folder for arm in suite.arms}) == len(jobs)
    # options are parsed one by one: all arms' in one command are quicker than a command for each
    config = parse(
        [*jobs[0].finetuning(300, "short"), COUNTED, *(w for job in jobs for w in job.overrides("finetune"))]
    )
    assert (config.trainer.max_steps, config.data.init_args.batch_size) == (300, size.finetune_batch)
    assert [callback.class_path.split(".")[-1] for callback in config.trainer.callbacks] == [
        "CountSteps",
        "EMAWeightAveraging",
        "EMAWeightAveraging",
    ]


def test_the_same_options_make_the_same_run(parse: Callable[[list[str]], Any]) -> None:
    # or the test above would find no two arms alike
    job = Job(read_suite("benchmark").arms[1], 0, SIZES["walk"], Path("hands"), Path("out"))
    assert str(parse(job.pretraining())) == str(parse(job.pretraining()))


def test_arms_that_differ_in_fine_tuning_share_their_pretraining() -> None:
    suite = read_suite("recipe")
    jobs = [Job(arm, 0, SIZES["walk"], Path("hands"), Path("out")) for arm in suite.arms]
    pretraining, tuning = stages_of(suite, jobs)
    assert len(pretraining) == 1
    assert len(tuning) == len(jobs) * len(SIZES["walk"].finetune_steps)
    assert {job.weights for job in jobs} == {pretraining[0].run / "checkpoints" / "last.ckpt"}


def test_a_suite_that_does_not_exist_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"no suite 'nothing'.*benchmark"):
        read_suite("nothing")


def test_a_suite_with_a_key_that_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.yaml").write_text("title: A title\narms: {scratch: }\nprobe: {labels: [100]}\n")
    monkeypatch.setattr("experiments.rendered.plan.SUITES", tmp_path)
    with pytest.raises(ValueError, match=r"mine\.yaml.*probe"):
        read_suite("mine")
    for wrong in ("{time: {view_px: 2}}", "{times: {train: 2}}"):  # all arms of a seed share their hands
        (tmp_path / "mine.yaml").write_text(f"title: A title\narms: {{wide: {wrong}}}\n")
        with pytest.raises(ValueError, match=r"mine\.yaml.*(time|train)"):
            read_suite("mine")
    (tmp_path / "mine.yaml").write_text("title: A title\narms: {scratch: }\nbaseline: PeCLR\n")
    with pytest.raises(ValueError, match=r"mine\.yaml.*\['PeCLR'\]"):
        read_suite("mine")


def test_an_arm_may_do_more_than_the_others(tmp_path: Path) -> None:
    arms = (Arm("PeCLR"), Arm("wide", times={"view_px": 2}), Arm("long", times={"pretrain_steps": 2.5}))
    suite = Suite("small", "A title", (*arms, Arm("scratch, wide", times={"view_px": 2})), finetune_labels=(8,))
    jobs = jobs_of(suite, 0, SIZES["walk"], Path("hands"), tmp_path)
    assert [(job.size.view_px, job.size.pretrain_steps) for job in jobs] == [(32, 3), (64, 3), (32, 8), (64, 3)]
    assert all(f"--data.view_size={job.size.view_px}" in job.finetuning(8, "short") for job in jobs)
    pretraining, tuning = stages_of(suite, jobs)
    assert [task.steps for task in pretraining] == [3, 3, 8], "scratch does not pre-train at any size"
    assert {task.title: task.cost for task in tuning}["scratch, wide (seed 0) fine-tuned on 8 labels, short"] == 2
    (tmp_path / "out").mkdir()
    rendered.check_plan(tmp_path / "out", suite, SIZES["walk"])
    rendered.check_plan(tmp_path / "out", suite, SIZES["walk"])
    other = Suite("small", "A title", (Arm("wide", times={"view_px": 3}),))
    with pytest.raises(ValueError, match="other overrides for \\['wide'\\]"):
        rendered.check_plan(tmp_path / "out", other, SIZES["walk"])


def test_a_suite_of_some_arms_fine_tunes_those_of_them_that_it_did() -> None:
    suite = read_suite("benchmark")
    some = suite.only(["SimCLR, same image", "scratch"])
    assert [arm.name for arm in some.arms] == ["scratch", "SimCLR, same image"]
    assert some.finetune_arms == ("scratch",)
    none = suite.only(["SimCLR, same image"])
    _, then = stages_of(none, jobs_of(none, 0, SIZES["walk"], Path("hands"), Path("out")))
    assert [task.title for task in then] == ["SimCLR, same image (seed 0) probed"]
    with pytest.raises(ValueError, match=r"benchmark has no arms \['other'\].*PeCLR, across versions"):
        suite.only(["scratch", "other"])


def test_a_schedule_may_have_labels_of_its_own() -> None:
    suite = read_suite("final")
    _, then = stages_of(suite, jobs_of(suite.only(["PeCLR"]), 0, SIZES["large"], Path("hands"), Path("out")))
    titles = [task.title.partition("fine-tuned on ")[2] for task in then[1:]]
    short = ["100 labels, short", "300 labels, short"]
    assert titles == [*short, "100 labels, converged", "300 labels, converged", "all labels, long"]


def test_an_experiment_runs_and_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    similar = next(arm for arm in read_suite("benchmark").arms if arm.name == "PeCLR, similar")
    suite = Suite(
        "small", "A title", (Arm("scratch", ()), similar), (8, None), (8,), ("scratch",), pictured=("scratch",)
    )
    monkeypatch.setattr(precision, "precision_that_pays", lambda: "32-true")
    monkeypatch.setattr(rendered, "workers", lambda processes: nullcontext(Here()))
    monkeypatch.setattr("peclr.synthetic.writer.usable_cores", lambda: 1)
    monkeypatch.setattr(rendered, "read_suite", lambda name: suite)
    monkeypatch.setitem(SIZES, "walk", replace(SIZES["walk"], train=24, finetune_steps={"short": 2}))
    arguments = ["small", "--size=walk", "--out=out", "--processes=1", "--seeds", "0"]
    assert rendered.main([*arguments, "--arms", "nobody"]) == 2
    assert "no arms ['nobody']" in capfd.readouterr().err
    assert rendered.main(arguments) == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    found = [(row["protocol"], row["labels"], row["weights"]) for row in results["rows"]]
    assert sorted(found) == [
        ("fine-tuned, short", 8, "scratch"),
        *(("frozen probe", labels, name) for labels in (8, 22) for name in ("PeCLR, similar", "scratch")),
    ]
    config = yaml.safe_load((tmp_path / "out" / "seed0" / similar.folder / "pretrain" / "config.yaml").read_text())
    assert Path(config["data"]["init_args"]["pairing"]["init_args"]["pairs"]).is_file()
    assert config["trainer"]["precision"] == results["size"]["trainer"]["precision"] == "32-true"
    assert steps_of(tmp_path / "out" / "seed0" / similar.folder / "pretrain")[0] == SIZES["walk"].pretrain_steps
    assert f"{similar.name} (seed 0)  done" in capfd.readouterr().out
    image = cv2.imread(str(tmp_path / "out" / "demo.png"))
    assert image is not None
    assert image.std() > 20, "an empty image"

    monkeypatch.setattr(precision, "precision_that_pays", lambda: pytest.fail("the experiment has its precision"))
    (tmp_path / "out" / "seed0" / "scratch" / "probe.json").unlink()
    again: list[dict[str, Any]] = []
    monkeypatch.setattr(rendered, "write_results", lambda suite, size, name, rows, hands, out, **_: again.extend(rows))
    assert rendered.main([*arguments, "--arms", "scratch"]) == 0
    assert again == results["rows"], "what is repeated must come out the same, beside what other sessions did"
    assert results["command"] == "python -m experiments.rendered.run small --size walk --seeds 0"
    shown = capfd.readouterr().out
    assert "scratch (seed 0) probed  done" in shown
    assert shown.count("done") == 1


class Pausing(Logger):
    """While there is a file `flag`, holds a run after its seventh step until a signal has come."""

    name = version = ""

    def __init__(self, flag: Path) -> None:
        super().__init__()
        self.flag = flag

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        pass

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        handler: Any = signal.getsignal(signal.SIGTERM)
        end = time.monotonic() + 60
        while step == 7 and self.flag.exists() and not handler.__self__.received and time.monotonic() < end:
            time.sleep(0.01)


@pytest.mark.slow
def test_ctrl_c_and_the_same_again_end_with_the_weights_of_an_undisturbed_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    flag = tmp_path / "flag"  # else the run may have ended before the test has seen that it began
    pausing = f"{{class_path: {__name__}.Pausing, init_args: {{flag: {flag}}}}}"
    arms = Arm("PeCLR", (f"--trainer.logger={pausing}", "--trainer.log_every_n_steps=1")), Arm("next")
    monkeypatch.setattr(rendered, "read_suite", lambda name: Suite("small", "A title", arms, ()))
    monkeypatch.setattr(rendered, "write_results", lambda *_, **__: None)  # there is nothing to write
    # 5 steps an epoch
    monkeypatch.setitem(SIZES, "walk", replace(SIZES["walk"], train=40, pretrain_steps=33))
    run = Path("seed0", "peclr", "pretrain")

    def interrupt() -> None:
        while steps_of(tmp_path / "disturbed" / run)[0] < 7:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    arguments = ["small", "--size=walk", "--processes=1", "--seeds", "0", "--precision=32-true"]
    assert rendered.main([*arguments, "--out=undisturbed"]) == 0
    flag.touch()
    threading.Thread(target=interrupt, daemon=True).start()
    assert rendered.main([*arguments, "--out=disturbed"]) == 130
    flag.unlink()
    assert "the same command goes on" in capfd.readouterr().err
    assert active_children() == []
    assert 7 <= steps_of(tmp_path / "disturbed" / run)[0] <= 9
    assert not Path("disturbed", "seed0", "next").exists(), "it has begun another run before it stopped"
    assert rendered.main([*arguments, "--out=disturbed"]) == 0
    paths = [tmp_path / out / run / "checkpoints" / "last.ckpt" for out in ("undisturbed", "disturbed")]
    straight, resumed = (torch.load(path, weights_only=True) for path in paths)
    assert straight["global_step"] == resumed["global_step"] == 33
    assert all(torch.equal(value, resumed["state_dict"][key]) for key, value in straight["state_dict"].items())


def _task(title: str, steps: int, folder: Path, kind: str = "pretrain") -> Task:
    return Task(title, kind, steps, folder / title, folder / f"{title}.json", list)


def test_the_time_that_is_left_follows_what_runs_do(tmp_path: Path) -> None:
    tasks = [_task(title, steps, tmp_path) for title, steps in (("a", 100), ("b", 100), ("c", 50))]
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "steps.txt").write_text("40")  # no pace yet
    pace: dict[str, float] = {"pretrain": 0.5}
    start = remaining([_task("new", 0, tmp_path)], 1, pace)
    # one process: all after each other; two: "c" follows the first that is free
    assert remaining(tasks, 1, pace) == pytest.approx((60 + 100 + 50) * 0.5 + 2 * start)
    assert remaining(tasks, 2, pace) == pytest.approx((60 + 50) * 0.5 + start)
    (tmp_path / "a" / "steps.txt").write_text("50 2.0")
    assert remaining(tasks, 1, pace) == pytest.approx((50 + 100 + 50) * 2 + 2 * 4 * start), "four times as slow"
    assert pace == {"pretrain": 2.0}
    tuning = [_task("d", 30, tmp_path, "finetune")]
    assert remaining(tuning, 1, {"pretrain": 2.0}) == pytest.approx(4 * remaining(tuning, 1, {"pretrain": 0.5}))


def test_the_bar_says_how_long_it_takes_within_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    with tqdm(total=1.0, bar_format="{desc}", mininterval=0, miniters=0) as bar:
        show(bar, 125.0, "PeCLR 40/100")
    assert "2:05 left, until" in (shown := capsys.readouterr().err)
    assert "PeCLR 40/100" in shown


def test_steps_are_timed_before_long_work_only(
    rendered_hands: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rendered_jobs, "_TIMED", 2)
    suite, pool = Suite("small", "A title", (Arm("PeCLR", ()),), ()), Here()
    for steps, kinds in ((40, set()), (41, {"pretrain", "start"})):
        size = replace(SIZES["walk"], train=24, pretrain_steps=steps)
        jobs = [Job(arm, 0, size, rendered_hands, tmp_path) for arm in suite.arms]
        pace = timed(pool, jobs, suite, [task for stage in stages_of(suite, jobs) for task in stage])
        assert set(pace) == kinds
        assert all(0 < seconds < 600 for seconds in pace.values())
    assert list(tmp_path.iterdir()) == []


def test_a_probe_is_the_same_whether_it_reads_all_hands_or_those_it_needs(rendered_hands: Path, tmp_path: Path) -> None:
    few = replace(SIZES["walk"], train=24, versions=1)
    jobs = [Job(Arm("scratch", ()), 0, few, rendered_hands, tmp_path / part) for part in ("needed", "all")]
    needed, everything = probe(jobs[0], (4, 8)), probe(jobs[1], (4, 8, None))
    assert needed == everything[:2]
    assert len(everything) == 3


def test_a_probe_of_validation_hands_does_not_look_at_the_test_split(rendered_hands: Path, tmp_path: Path) -> None:
    for split in ("training", "evaluation"):
        shutil.copytree(rendered_hands / split, tmp_path / "hands" / split)
        for path in rendered_hands.glob(f"{split}_*.json"):
            shutil.copy(path, tmp_path / "hands")
    size = replace(SIZES["walk"], train=24, versions=1)
    job = Job(Arm("scratch"), 0, size, tmp_path / "hands", tmp_path)
    on_test, on_validation = probe(job, (8,)), probe(job, (8,), "validate")
    assert on_test != on_validation
    shutil.rmtree(tmp_path / "hands" / "evaluation")
    assert probe(job, (8,), "validate") == on_validation


def test_another_experiment_is_not_mixed_into_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").mkdir()
    size = SIZES["walk"]
    suite = Suite("one", "A title", (Arm("a", ("--data.seed=1",)),), (8,))
    rendered.check_plan(tmp_path / "out", suite, size)
    rendered.check_plan(tmp_path / "out", Suite("one", "A title", (*suite.arms, Arm("b", ())), (8,)), size)
    with pytest.raises(ValueError, match="other overrides for \\['a'\\]"):
        rendered.check_plan(tmp_path / "out", Suite("one", "A title", (Arm("a", ()),), (8,)), size)
    with pytest.raises(ValueError, match="another size"):
        rendered.check_plan(tmp_path / "out", suite, SIZES["cpu"])
    with monkeypatch.context() as changed:
        changed.setattr(rendered, "FINETUNE", PRETRAIN)
        with pytest.raises(ValueError, match=r"another pretrain\.yaml"):
            rendered.check_plan(tmp_path / "out", suite, size)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(ValueError, match="not empty"):
        rendered.check_plan(tmp_path / "other", suite, size)


def test_a_killed_process_is_said_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        with rendered.workers(1) as pool:
            pool.submit(os._exit, 9).result()

    assert rendered.status_of("rendered", work) == 1
    assert "a process that worked was killed" in capsys.readouterr().err


def test_two_processes_do_not_work_in_one_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = Suite("small", "A title", (Arm("scratch", ()),), (8,))
    monkeypatch.setattr(rendered, "read_suite", lambda name: suite)
    monkeypatch.setattr(rendered, "run_suite", lambda *_: pytest.fail("it has begun to work"))
    with hold(tmp_path / "out" / ".lock"):
        assert rendered.main(["small", "--size=walk", f"--out={tmp_path / 'out'}"]) == 2
    assert "another process works here" in capsys.readouterr().err


ROWS: list[dict[str, Any]] = [
    {"protocol": "frozen probe", "weights": weights, "labels": labels, "seed": seed}
    | dict.fromkeys(("error_2d_px", "root_relative_epe_mm", "pa_epe_mm"), base + labels / 1000 + seed)
    for weights, base in (("PeCLR", 20.0), ("scratch", 30.0))
    for labels in (100, 1000)
    for seed in (0, 1)
]


def test_numbers_are_means_with_the_sample_standard_deviation() -> None:
    assert over_seeds(ROWS, "frozen probe", 100, "PeCLR", "pa_epe_mm") == pytest.approx((20.6, 0.5**0.5))
    of_one = over_seeds(ROWS[:1], "frozen probe", 100, "PeCLR", "pa_epe_mm")
    assert of_one == pytest.approx((20.1, math.nan), nan_ok=True)
    assert table(ROWS[:1]).splitlines()[2] == "| PeCLR | **20.1** |"
    lines = table(ROWS).splitlines()
    assert lines[0] == "| root-relative EPE, mm | frozen probe, 100 | frozen probe, 1,000 |"
    assert lines[2] == "| PeCLR | **20.6 ± 0.7** | **21.5 ± 0.7** |"
    assert lines[3] == "| scratch | 30.6 ± 0.7 | 31.5 ± 0.7 |"


def test_differences_are_to_the_baseline_of_the_same_seed() -> None:
    lines = table(ROWS, baseline="PeCLR").splitlines()
    assert lines[2].startswith("| PeCLR | 20.6 ± 0.7 |")
    assert lines[3] == "| scratch | **+10.0 ± 0.0** | **+10.0 ± 0.0** |"


def test_changes_are_those_of_both_errors_of_the_same_seed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    better = [{**row, "weights": "better", "pa_epe_mm": row["pa_epe_mm"] - 1 - row["seed"]} for row in ROWS[:4]]
    alone = [{**row, "weights": "one seed", "pa_epe_mm": row["pa_epe_mm"] + 2} for row in ROWS[:4] if not row["seed"]]
    results = {"title": "A title", "command": "a command", "baseline": "PeCLR", "rows": [*ROWS[:4], *better, *alone]}
    lines = changes(results).splitlines()
    assert lines[0] == "| root-relative EPE / PA-EPE, mm | seeds | frozen probe, 100 | frozen probe, 1,000 |"
    assert lines[2] == "| PeCLR | 2 | 20.6 ± 0.7 / 20.6 ± 0.7 | 21.5 ± 0.7 / 21.5 ± 0.7 |"
    assert lines[3] == "| better | 2 | +0.0 ± 0.0 / **−1.5 ± 0.7** | +0.0 ± 0.0 / **−1.5 ± 0.7** |"
    assert lines[4] == "| one seed | 1 | +0.0 / +2.0 | +0.0 / +2.0 |"
    (tmp_path / "results.json").write_text(json.dumps(results))
    assert summary.main([str(tmp_path / "results.json"), "--percent"]) == 0
    shown = capsys.readouterr().out
    assert "A title (`a command`)" in shown
    assert "| one seed | 1 | +0.0 / +10.0 | +0.0 / +9.5 |" in shown  # 2 of 20.1 and 21.0 mm
    (tmp_path / "results.json").write_text(json.dumps({**results, "baseline": None}))
    assert summary.main([str(tmp_path / "results.json")]) == 2
    assert "expected results of a suite with a baseline" in capsys.readouterr().err


def test_what_was_not_measured_stays_empty() -> None:
    tuned = {**ROWS[0], "protocol": "fine-tuned, short", "labels": 8}
    assert table([*ROWS, tuned]).splitlines()[3] == "| scratch | 30.6 ± 0.7 | 31.5 ± 0.7 |  |"


def test_the_figure_shows_something(tmp_path: Path) -> None:
    draw({"rows": ROWS, "title": "A title", "seeds": [0, 1]}, tmp_path / "figure.png")
    image = cv2.imread(str(tmp_path / "figure.png"))
    assert image is not None
    assert image.std() > 10


def test_many_arms_are_drawn_one_below_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heights: list[float] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, out: heights.append(figure.get_figheight()))

    def height(arms: int) -> float:
        rows = [{**row, "weights": f"{row['weights']} {arm}"} for row in ROWS for arm in range(arms // 2)]
        draw({"rows": rows, "title": "A title", "seeds": [0, 1]}, tmp_path / "figure.png")
        return heights[-1]

    assert height(2) == height(10) < height(16) < height(24)
