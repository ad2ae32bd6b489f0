"""The configs that come with the package are found by name, in a clone and in a wheel."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from peclr.__main__ import main
from peclr.shipped import find_config, find_configs, shipped_configs, summary
from peclr.weights.catalog import BUILT_IN, catalog

ROOT = Path(__file__).parents[1]


def test_every_config_is_listed_with_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["configs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {"pretrain_peclr", "finetune", "sweeps/objectives", "paper/overlays/frozen"} <= set(shipped_configs())
    for (name, path), line in zip(shipped_configs().items(), lines, strict=True):
        assert line.split(maxsplit=1) == [name, summary(path)]
        assert 10 < len(summary(path)) < 150, name


def test_a_name_stands_for_its_file_unless_there_is_such_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    home = ROOT / "experiments"
    for word in ("paper/pretrain", "paper/pretrain.yaml", "experiments/paper/pretrain.yaml"):
        assert find_config(word) == home / "paper" / "pretrain.yaml"
    assert find_configs(["fit", "--config", "finetune", "-c=sweeps/finetune", "--data.root=finetune", "finetune"]) == [
        *("fit", "--config", str(home / "finetune.yaml"), f"-c={home / 'sweeps' / 'finetune.yaml'}"),
        *("--data.root=finetune", "finetune"),
    ]
    Path("finetune").touch()
    assert find_config("finetune") == Path("finetune")
    assert find_config("no_such") == Path("no_such")


def test_a_config_is_copied_and_nothing_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, text = tmp_path / "my.yaml", (ROOT / "experiments" / "pretrain_peclr.yaml").read_text()
    assert main(["configs", "pretrain_peclr"]) == 0
    assert capsys.readouterr().out == text
    assert main(["configs", "pretrain_peclr", "--out", str(out)]) == 0
    assert out.read_text() == text
    assert main(["configs", "finetune", "--out", str(out)]) == 2
    assert str(out) in capsys.readouterr().err
    assert out.read_text() == text
    assert main(["configs", "pretrain_pecl"]) == 2
    assert "'pretrain_pecl'" in capsys.readouterr().err


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The content of a wheel built from a copy of the clone."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("peclr", "experiments"):
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source")
    for suffix in (".safetensors", ".md"):  # the network that comes with the package, where this copy has none
        (folder / "source" / "peclr" / "weights" / f"{BUILT_IN}{suffix}").touch()
    build = [sys.executable, "-c", "import sys, setuptools.build_meta as b; b.build_wheel(sys.argv[1])", str(folder)]
    subprocess.run(build, cwd=folder / "source", check=True, capture_output=True)
    [wheel] = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "installed")
    return folder / "installed"


def peclr(installed: Path, folder: Path, *words: str) -> str:
    command = [sys.executable, "-m", "peclr", *words]
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_a_wheel_has_the_configs(installed: Path, tmp_path: Path) -> None:
    listed = peclr(installed, tmp_path, "configs")
    assert [line.split()[0] for line in listed.splitlines()] == list(shipped_configs())


def test_a_wheel_has_the_list_of_published_weights(installed: Path, tmp_path: Path) -> None:
    listed = json.loads(peclr(installed, tmp_path, "weights", "--format=json"))
    assert {one["name"] for one in listed} == {BUILT_IN, *catalog()}
    [built_in] = [one for one in listed if one["name"] == BUILT_IN]
    assert Path(built_in["path"]).is_relative_to(installed)
    assert Path(built_in["path"]).with_suffix(".md").is_file()


@pytest.mark.slow
def test_a_wheel_trains_with_them_in_an_empty_folder(installed: Path, rendered_hands: Path, tmp_path: Path) -> None:
    overrides = [
        f"--data.sources.init_args.root={rendered_hands}",
        "--model.encoder.init_args={name: resnet18, width: 0.125, weights: null}",
        "--data.batch_size=4",
        "--data.num_workers=0",
        "--trainer.precision=32",
        "--trainer.max_steps=1",
        "--trainer.accumulate_grad_batches=1",
        "--trainer.callbacks=null",
    ]
    peclr(installed, tmp_path, "fit", "--config", "pretrain_peclr", *overrides)
    assert list(tmp_path.glob("runs/pretrain_peclr/*/checkpoints/last.ckpt"))
