"""The embedded experiments: every arm is a valid run, a small one runs and goes on, tables say mean and deviation."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
import yaml

from experiments.rendered import run as embedded
from experiments.rendered.jobs import Job, pretrain_steps, pretraining, probe
from experiments.rendered.neighbours import nearest, pose_distances
from experiments.rendered.plan import SIZES, SUITES, Arm, Suite, read_suite
from experiments.rendered.summary import draw, over_seeds, table
from peclr.metrics.probe import EncodedHands
from peclr.sweeps.lock import locked

NAMES = sorted(path.stem for path in SUITES.glob("*.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_every_arm_is_a_valid_run_of_its_own(name: str, parse: Callable[[list[str]], Any]) -> None:
    suite, size = read_suite(name), SIZES["cpu"]
    jobs = [Job(arm, 3, size, Path("hands"), Path("out")) for arm in suite.arms if arm.name != "scratch"]
    parsed = [parse(pretraining(job)) for job in jobs]
    assert len({str(config) for config in parsed}) == len(parsed), "two arms are the same run"
    assert len({arm.folder for arm in suite.arms}) == len(suite.arms), "two arms share a folder"
    for job, config in zip(jobs, parsed, strict=True):  # also where an arm names a class of its own
        model, data = config.model.init_args, config.data.init_args
        assert (model.encoder.init_args.width, model.weight_decay, data.border) == (size.width, 1e-4, "reflect")
        assert (data.seed, data.batch_size) == (3, size.pretrain_batch)
        assert config.trainer.max_steps == pretrain_steps(job) == (5000 if "5,000" in job.arm.name else 2000)
        pictures = size.train * (size.versions if data.pairing == "same_image" else 1)
        assert model.warmup_epochs * (pictures // size.pretrain_batch) == pytest.approx(size.warmup_steps)


def test_the_same_options_make_the_same_run(parse: Callable[[list[str]], Any]) -> None:
    # or the test above would find no two arms alike
    job = Job(read_suite("benchmark").arms[1], 0, SIZES["walk"], Path("hands"), Path("out"))
    assert str(parse(pretraining(job))) == str(parse(pretraining(job)))


def test_a_suite_that_does_not_exist_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"no suite 'nothing'.*benchmark"):
        read_suite("nothing")


def test_an_experiment_runs_and_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    similar = next(arm for arm in read_suite("benchmark").arms if arm.name == "PeCLR, similar")
    suite = Suite("small", "A title", (Arm("scratch", ()), similar), (8, None), (8,), ("scratch",))
    monkeypatch.setattr(embedded, "read_suite", lambda name: suite)
    monkeypatch.setitem(SIZES, "walk", SIZES["walk"].__class__(**{**vars(SIZES["walk"]), "train": 24}))
    arguments = ["small", "--size=walk", "--out=out", "--processes=1", "--seeds", "0"]
    assert embedded.main(arguments) == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    found = [(row["protocol"], row["labels"], row["weights"]) for row in results["rows"]]
    assert sorted(found) == [
        ("fine-tuned, converged", 8, "scratch"),
        ("fine-tuned, short", 8, "scratch"),
        *(("frozen probe", labels, name) for labels in (8, 22) for name in ("PeCLR, similar", "scratch")),
    ]
    config = yaml.safe_load((tmp_path / "out" / "seed0" / similar.folder / "pretrain" / "config.yaml").read_text())
    assert Path(config["data"]["init_args"]["pairing"]["init_args"]["pairs"]).is_file()
    assert "pre-trained" in capfd.readouterr().out

    (tmp_path / "out" / "seed0" / "scratch" / "probe.json").unlink()
    assert embedded.main(arguments) == 0
    again = json.loads((tmp_path / "out" / "results.json").read_text())
    assert again["rows"] == results["rows"], "what is repeated must come out the same"
    shown = capfd.readouterr().out
    assert "probed" in shown
    assert "pre-trained" not in shown
    assert "fine-tuned on" not in shown


def test_a_probe_is_the_same_whether_it_reads_all_hands_or_those_it_needs(embedded_hands: Path, tmp_path: Path) -> None:
    few = replace(SIZES["walk"], train=24, versions=1)
    jobs = [Job(Arm("scratch", ()), 0, few, embedded_hands, tmp_path / part) for part in ("needed", "all")]
    needed, everything = probe(jobs[0], (4, 8)), probe(jobs[1], (4, 8, None))
    assert needed == everything[:2]
    assert len(everything) == 3


def test_another_experiment_is_not_mixed_into_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").mkdir()
    size = SIZES["walk"]
    suite = Suite("one", "A title", (Arm("a", ("--data.seed=1",)),), (8,))
    embedded.check_plan(tmp_path / "out", suite, size)
    embedded.check_plan(tmp_path / "out", Suite("one", "A title", (*suite.arms, Arm("b", ())), (8,)), size)
    with pytest.raises(ValueError, match="other overrides for \\['a'\\]"):
        embedded.check_plan(tmp_path / "out", Suite("one", "A title", (Arm("a", ()),), (8,)), size)
    with pytest.raises(ValueError, match="another size"):
        embedded.check_plan(tmp_path / "out", suite, SIZES["cpu"])
    with monkeypatch.context() as changed:
        changed.setattr(embedded, "HEAD_FIRST", 0.5)
        with pytest.raises(ValueError, match=r"another pretrain\.yaml"):
            embedded.check_plan(tmp_path / "out", suite, size)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(ValueError, match="not empty"):
        embedded.check_plan(tmp_path / "other", suite, size)


def test_two_processes_do_not_work_in_one_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = Suite("small", "A title", (Arm("scratch", ()),), (8,))
    monkeypatch.setattr(embedded, "read_suite", lambda name: suite)
    monkeypatch.setattr(embedded, "run_suite", lambda *_: pytest.fail("it has begun to work"))
    with locked(tmp_path / "out"):
        assert embedded.main(["small", "--size=walk", f"--out={tmp_path / 'out'}"]) == 2
    assert "another process works here" in capsys.readouterr().err


ROWS = [
    {"protocol": "frozen probe", "weights": weights, "labels": labels, "seed": seed}
    | dict.fromkeys(("error_2d_px", "root_relative_epe_mm", "pa_epe_mm"), base + labels / 1000 + seed)
    for weights, base in (("PeCLR", 20.0), ("scratch", 30.0))
    for labels in (100, 1000)
    for seed in (0, 1)
]


def test_numbers_are_means_with_the_sample_standard_deviation() -> None:
    assert over_seeds(ROWS, "frozen probe", 100, "PeCLR", "pa_epe_mm") == pytest.approx((20.6, 0.5**0.5))
    assert over_seeds(ROWS[:1], "frozen probe", 100, "PeCLR", "pa_epe_mm") == pytest.approx((20.1, 0.0))
    lines = table(ROWS).splitlines()
    assert lines[0] == "| EPE, mm | frozen probe, 100 | frozen probe, 1,000 |"
    assert lines[2] == "| PeCLR | **20.6 ± 0.7** | **21.5 ± 0.7** |"
    assert lines[3] == "| scratch | 30.6 ± 0.7 | 31.5 ± 0.7 |"


def test_what_was_not_measured_stays_empty() -> None:
    tuned = {**ROWS[0], "protocol": "fine-tuned, short", "labels": 8}
    assert table([*ROWS, tuned]).splitlines()[3] == "| scratch | 30.6 ± 0.7 | 31.5 ± 0.7 |  |"


def test_the_figure_shows_something(tmp_path: Path) -> None:
    draw({"rows": ROWS, "title": "A title", "seeds": [0, 1]}, tmp_path / "figure.png")
    picture = cv2.imread(str(tmp_path / "figure.png"))
    assert picture is not None
    assert picture.std() > 10


def test_many_arms_are_drawn_one_below_the_other(tmp_path: Path) -> None:
    def height(arms: int) -> int:
        rows = [{**row, "weights": f"{row['weights']} {arm}"} for row in ROWS for arm in range(arms // 2)]
        draw({"rows": rows, "title": "A title", "seeds": [0, 1]}, tmp_path / "figure.png")
        picture = cv2.imread(str(tmp_path / "figure.png"))
        assert picture is not None
        return len(picture)

    assert height(2) == height(10) < height(16) < height(24)


def test_the_nearest_picture_is_of_another_hand_and_ignores_what_all_have_in_common() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(6, 8, generator=generator) * 0.01
    features[0, 0] = features[1, 0] = features[5, 0] = 1.0  # pictures 0 and 1 are of one hand
    features[2:5, 1] = 1.0
    joints = torch.zeros(6, 21, 3)
    hands = EncodedHands(features + 100.0, torch.zeros(6, 21, 2), joints)
    assert nearest(hands, torch.tensor([0, 4]), versions=2).tolist() == [5, int(nearest(hands, torch.tensor([4]), 2))]
    assert int(nearest(hands, torch.tensor([4]), 2)) in {2, 3}


def test_poses_are_as_far_apart_as_their_joints_on_average() -> None:
    generator = torch.Generator().manual_seed(0)
    joints, others = torch.randn(2, 21, 3, generator=generator), torch.randn(3, 21, 3, generator=generator)
    expected = [[float((a - b).norm(dim=-1).mean()) * 1000 for b in others] for a in joints]
    assert pose_distances(joints, others).tolist() == [pytest.approx(row, rel=1e-5) for row in expected]
