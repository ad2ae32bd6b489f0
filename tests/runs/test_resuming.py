"""A checkpoint and the run that is to go on from it: what may differ, what is said, what is refused."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from peclr.runs.about import About
from peclr.runs.durable import write_checkpoint
from peclr.runs.resuming import changed_values, check_fit, has_ended
from tests.trainer import quiet_trainer

CONFIG: dict[str, Any] = {
    "seed_everything": 0,
    "model": {"class_path": "A", "init_args": {"lars": True, "optimizer": {"class_path": "Adam"}, "weights": None}},
    "data": {"class_path": "B", "init_args": {"sources": [{"root": "here"}], "weights": [1.0, 2.0], "num_workers": 2}},
    "trainer": {"max_epochs": 2, "devices": 1, "precision": "32-true"},
}


def changed(**values: Any) -> dict[str, Any]:
    """The config with other values at dotted keys, whose dots are written as two underscores."""
    config = copy.deepcopy(CONFIG)
    for key, value in values.items():
        *folders, name = key.split("__")
        section: Any = config
        for folder in folders:
            section = section[int(folder) if folder.isdigit() else folder]
        section[name] = value
    return config


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    write_checkpoint({"state_dict": torch.nn.Linear(2, 3).state_dict(), "loops": {}}, path)
    (path.parents[1] / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    return path


@pytest.mark.parametrize(
    "values",
    [
        {"trainer__max_epochs": 9},
        {"trainer__devices": 8},
        {"data__init_args__num_workers": 0},
        {"data__init_args__sources__0__root": "there"},
        {"model__init_args__weights": "start.pth"},
        {"model__init_args__new_option": None},
    ],
)
def test_what_does_not_decide_the_weights_may_differ(values: dict[str, Any]) -> None:
    assert changed_values(CONFIG, changed(**values)) == {}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed_everything", 1),
        ("model__init_args__lars", False),
        ("data__init_args__weights", [1.0, 1.0]),
        ("trainer__precision", "bf16-mixed"),
    ],
)
def test_what_decides_them_is_said(key: str, value: Any, checkpoint: Path) -> None:
    found = check_fit(checkpoint, torch.nn.Linear(2, 3), changed(**{key: value}))
    assert [(name, now) for name, (_, now) in found.items()] == [(key.replace("__", "."), value)]


def test_a_checkpoint_away_from_its_run_says_itself_what_differs(tmp_path: Path) -> None:
    objective = {"class_path": "peclr.losses.objectives.PeCLR", "init_args": {"temperature": 0.1}}
    config = changed(model__init_args__objective=objective, data__init_args__view_size=48)
    about = About(kind="pretrain", encoder={}, objective=objective, view_size=48)
    content = {"state_dict": torch.nn.Linear(2, 3).state_dict(), "loops": {}, "peclr": about.as_dict()}
    write_checkpoint(content, tmp_path / "x.ckpt")
    assert check_fit(tmp_path / "x.ckpt", torch.nn.Linear(2, 3), config) == {}
    config["model"]["init_args"]["objective"] = objective | {"init_args": {"temperature": 0.5}}
    config["data"]["init_args"]["view_size"] = 64
    assert check_fit(tmp_path / "x.ckpt", torch.nn.Linear(2, 3), config) == {
        "model.init_args.objective.init_args.temperature": (0.1, 0.5),
        "data.init_args.view_size": (48, 64),
    }
    config["model"]["init_args"]["objective"] = objective | {"class_path": "peclr.losses.objectives.SimCLR"}
    with pytest.raises(ValueError, match=r"x\.ckpt: is from a run of other classes"):
        check_fit(tmp_path / "x.ckpt", torch.nn.Linear(2, 3), config)


def test_a_class_may_have_moved_within_the_package() -> None:
    objective = {"class_path": "peclr.losses.objectives.PeCLR", "init_args": {}}
    before = changed(model__init_args__objective=objective)
    now = changed(model__init_args__objective=objective | {"class_path": "peclr.PeCLR"})
    assert changed_values(before, now) == {}
    other = changed(model__init_args__objective=objective | {"class_path": "mine.PeCLR"})
    assert list(changed_values(before, other)) == ["model.init_args.objective.class_path"]


def test_another_class_is_refused(checkpoint: Path) -> None:
    config = changed(model__init_args__optimizer={"class_path": "SGD"})
    with pytest.raises(ValueError, match=r"of other classes.*\n  model\.init_args\.optimizer\.class_path: Adam there"):
        check_fit(checkpoint, torch.nn.Linear(2, 3), config)


@pytest.mark.parametrize("model", [torch.nn.Linear(2, 4), torch.nn.Linear(2, 3, bias=False)])
def test_weights_that_do_not_fit_are_refused(model: torch.nn.Module, checkpoint: Path) -> None:
    with pytest.raises(ValueError, match=r"last\.ckpt: does not fit the model, in .*bias"):
        check_fit(checkpoint, model, CONFIG)


def test_weights_alone_are_no_run(tmp_path: Path) -> None:
    write_checkpoint(torch.nn.Linear(2, 3).state_dict(), tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=r"expected a checkpoint of a run, found weight, bias"):
        check_fit(tmp_path / "weights.pth", torch.nn.Linear(2, 3), CONFIG)


@pytest.mark.parametrize(
    ("ends", "ended"),
    [((2, -1), True), ((1, -1), True), ((3, -1), False), ((-1, -1), False), ((None, 8), True), ((5, 9), False)],
)
def test_a_run_has_ended_where_its_results_are_and_it_is_to_end(
    *, ends: tuple[int | None, int], ended: bool, tmp_path: Path
) -> None:
    trainer = quiet_trainer(tmp_path, max_epochs=ends[0], max_steps=ends[1])
    loops = {"fit_loop": {"epoch_progress": {"current": {"processed": 2}}}}
    write_checkpoint({"state_dict": {}, "global_step": 8, "loops": loops}, tmp_path / "last.ckpt")
    assert not has_ended(tmp_path / "last.ckpt", trainer)
    for results in ('{"stage": "fi', '{"stage": "fit", "step": 4}', '{"stage": "test", "step": 8}'):
        (tmp_path / "results.json").write_text(results)
        assert not has_ended(tmp_path / "last.ckpt", trainer)
    (tmp_path / "results.json").write_text('{"stage": "fit", "step": 8}')
    assert has_ended(tmp_path / "last.ckpt", trainer) == ended
