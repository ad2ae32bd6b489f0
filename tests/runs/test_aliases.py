"""Names of older runs go on working: the table is complete in itself, and configs are read through it."""

import contextlib
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from peclr.data.sources.freihand import FreiHAND
from peclr.drawing.views import read_data_module
from peclr.runs import aliases
from peclr.runs.layout import read_run_config


@pytest.fixture(autouse=True)
def _nothing_reported_yet() -> None:
    aliases._report.cache_clear()


@pytest.mark.parametrize(("old", "now"), aliases.CLASSES.items())
def test_present_paths_lead_to_classes_and_old_ones_nowhere_else(old: str, now: str) -> None:
    assert old not in aliases.CLASSES.values(), "an alias of an alias"
    if "." not in now:  # short for one of these
        assert "." not in old
        assert any(path.endswith(f".{now}") for path in aliases.CLASSES.values())
        return
    module, _, name = now.rpartition(".")
    present = getattr(import_module(module), name)
    assert isinstance(present, type)
    module, _, name = old.rpartition(".")
    with contextlib.suppress(ModuleNotFoundError):
        assert getattr(import_module(module), name, present) is present


def test_a_metric_that_is_monitored_goes_by_its_name_now() -> None:
    callback = {"class_path": "ModelCheckpoint", "init_args": {"monitor": "probe/epe_mm"}}
    assert aliases.renewed(callback)["init_args"] == {"monitor": "probe/root_relative_epe_mm"}


def test_names_change_at_any_depth_and_nothing_else_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(aliases.CLASSES, "a.Old", "a.New")
    old = {"class_path": "a.Old", "init_args": {"keep": 3, "other": "a.Old", "text": "an a.Old"}}
    new = {"class_path": "a.New", "init_args": {"keep": 3, "other": "a.New", "text": "an a.Old"}}
    kept = {"class_path": "a.Other", "init_args": {"keep": 1}, "keep": None}
    assert aliases.renewed({"data": [old, kept], "n": 1.5}) == {"data": [new, kept], "n": 1.5}
    aliases.renewed(old)
    assert capsys.readouterr().err == "peclr: config uses the old name a.Old: now a.New\n", "it is reported once"


@pytest.mark.parametrize("given", ["file", "command line"])
def test_a_config_with_old_class_paths_is_read(
    given: str, rendered_hands: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = {"class_path": "peclr.data.freihand.FreiHAND", "init_args": {"root": str(rendered_hands)}}
    data = {"class_path": "PairedViewDataModule", "init_args": {"batch_size": 4, "sources": source}}
    overrides = []
    if given == "command line":
        overrides = [f"--data.sources.class_path={source['class_path']}", f"--data.sources.root={rendered_hands}"]
        data["init_args"] = {"batch_size": 4}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"data": data}))
    module = read_data_module(path, overrides)
    module.setup("fit")
    assert "uses the old name peclr.data.freihand.FreiHAND: now" in capsys.readouterr().err
    assert read_run_config(path)["data"]["class_path"] == "PairedViewDataModule"
    if given == "file":
        assert read_run_config(path)["data"]["init_args"]["sources"]["class_path"] == (
            f"{FreiHAND.__module__}.{FreiHAND.__qualname__}"
        )


def test_the_change_log_lists_every_old_name() -> None:
    text = (Path(__file__).parents[2] / "CHANGELOG.md").read_text(encoding="utf-8")
    names = set(aliases.METRICS)
    for old, now in aliases.CLASSES.items():
        module, _, name = old.rpartition(".")
        names.add(name if name != now.rpartition(".")[2] else module.rpartition(".")[2])
    assert {name for name in names if name not in text} == set()


OLD = "--data.sources.init_args.root"


@pytest.mark.parametrize(
    "words", [[f"{OLD}=hands"], [OLD, "hands"], ["--data.init_args.sources.init_args.root=hands"]], ids=" ".join
)
def test_the_root_of_a_source_that_nobody_has_named_is_that_of_the_data(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("data: {class_path: PairedViewDataModule, init_args: {seed: 1}}")
    now = aliases.renewed_arguments([f"--config={config}", *words])
    assert " ".join(now[1:]).replace(" ", "=") == "--data.root=hands"
    assert aliases.renewed_arguments(["--config", str(config), *words])[2:] == now[1:]
    assert capsys.readouterr().err == f"peclr: config uses the old name {OLD}: now --data.root\n"
    config.write_text("data: {init_args: {sources: {class_path: FreiHAND}}}")
    assert aliases.renewed_arguments([f"--config={config}", *words])[1:] == words
    assert aliases.renewed_arguments(["--data.sources=FreiHAND", *words])[1:] == words
