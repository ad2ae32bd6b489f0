"""Every config that ships runs: one batch of everything, on tiny data sets in the layouts that it names."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from peclr.__main__ import main
from peclr.models.timm_encoder import TimmEncoder
from peclr.shipped import shipped_configs
from tests.data.sources.hanco_set import write_hanco
from tests.data.sources.labeled_sets import few_sequences, write_dexycb, write_ho3d, write_interhand, write_rhd
from tests.data.sources.sets_2d import write_2d

ROOT = Path(__file__).parents[1]
CONFIGS = sorted([*ROOT.glob("experiments/**/*.yaml"), *ROOT.glob("tests/conf/*.yaml")])
# sweeps are for `wandb sweep`, suites for experiments.rendered and .real: they name configs rather than being some;
# most of the paper's are parts of others (tests/experiments/test_paper.py)
RUNNABLE = [path for path in CONFIGS if not {"sweeps", "suites", "paper"} & set(path.parts)]


@pytest.fixture(scope="module")
def folder(rendered_hands: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the data sets that configs expect below data/."""
    folder = tmp_path_factory.mktemp("folder")
    data = folder / "data"
    data.mkdir()
    for name in ("rendered", "freihand"):
        (data / name).symlink_to(rendered_hands)
    for name in ("ho3d", "h2o3d"):
        write_ho3d(data / name)
    write_hanco(data / "hanco")
    write_interhand(data / "interhand")
    write_rhd(data / "rhd", frames=8)
    for name, dataset in (("coco", "coco_wholebody"), ("halpe", "halpe"), ("panoptic", "panoptic")):
        write_2d(data / name, dataset, images=4)
    with few_sequences():
        write_dexycb(data / "dexycb")
        yield folder


def small(config: dict[str, Any], root: Path) -> list[str]:
    """Overrides that keep a config's structure and shrink its work; `root` is of data, where it names none."""
    encoder = config["model"]["init_args"].get("encoder", {"init_args": {"name": "resnet18"}})
    name = encoder["init_args"]["name"]
    if encoder.get("class_path") == "TimmEncoder":  # has a tiny network of every kind
        pytest.importorskip("timm", reason="needs the extra: pip install 'peclr[timm]'")
        network = [f"--model.encoder.init_args.name=test_{name.partition('_')[0]}"]
    else:
        network = ["--model.encoder=ResNetEncoder", f"--model.encoder.init_args.name={name}"]
        network += ["--model.encoder.init_args.width=0.125"]
    overrides = [
        *network,
        "--model.encoder.init_args.weights=null",  # nothing can be downloaded in a test
        "--data.batch_size=4",
        "--data.view_size=32",
        "--data.num_workers=0",
        "--trainer.fast_dev_run=true",
        "--trainer.accelerator=cpu",
        "--trainer.precision=32-true",  # 16-mixed needs a GPU
        "--trainer.enable_progress_bar=false",
        "--trainer.enable_model_summary=false",
    ]
    data = config["data"]["init_args"]
    given = [] if data.keys() & {"root", "sources"} else [f"--data.root={root}"]
    return [*overrides, *given, *(["--data.num_labels=8"] if "num_labels" in data else [])]


@pytest.mark.parametrize("path", RUNNABLE, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_config_runs(
    path: Path, rendered_hands: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    config = yaml.safe_load(path.read_text())
    status = main(["fit", f"--config={path}", f"--run_dir={tmp_path / 'run'}", *small(config, rendered_hands)])
    assert status == 0


@pytest.mark.parametrize("name", ["pretrain_vit", "pretrain_convnext"])
def test_weights_of_timm_in_configs_are_free_and_fit_their_views(name: str) -> None:
    timm = pytest.importorskip("timm", reason="needs the extra: pip install 'peclr[timm]'")
    text = (ROOT / "experiments" / f"{name}.yaml").read_text()
    config = yaml.safe_load(text)
    encoder = config["model"]["init_args"]["encoder"]["init_args"]
    published = timm.get_pretrained_cfg(encoder["name"])
    assert f"({published.license}): hf download {published.hf_hub_id} model.safetensors\n" in text
    assert published.license == "apache-2.0"
    with torch.device("meta"):
        TimmEncoder(encoder["name"], view_size=config["data"]["init_args"]["view_size"])


def test_configs_draw_what_they_say() -> None:
    """PeCLR's own views in the config that says "as published"; one recipe in all fine-tunings."""
    read = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / "experiments").glob("*.yaml")}
    assert read["pretrain_peclr"]["data"]["init_args"]["geometry"] == "published"
    whole, others = read["finetune"], [config for name, config in read.items() if name.startswith("finetune_")]
    assert len(others) >= 8
    for config in others:
        assert config["data"]["init_args"]["photometric"] == whole["data"]["init_args"]["photometric"]
        assert config["model"]["init_args"]["optimizer"] == whole["model"]["init_args"]["optimizer"]
        assert config["trainer"]["precision"] == whole["trainer"]["precision"]


def test_the_mixture_has_the_weights_that_hamer_states() -> None:
    """Pavlakos et al., CVPR 2024, as its code lists them."""
    stated = {"freihand": 0.25, "interhand": 0.25, "rhd": 0.05, "coco": 0.10, "halpe": 0.05, "panoptic": 0.05}
    stated |= {"ho3d": 0.05, "h2o3d": 0.05, "dexycb": 0.05}
    data = yaml.safe_load((ROOT / "experiments" / "finetune_mixture.yaml").read_text())["data"]["init_args"]
    names = [Path(source["init_args"]["root"]).name for source in data["sources"]]
    assert dict(zip(names, data["weights"], strict=True)) == stated


def test_configs_load_with_every_core() -> None:
    data = [yaml.safe_load(path.read_text()).get("data", {}).get("init_args", {}) for path in CONFIGS]
    assert {given["num_workers"] for given in data if "num_workers" in given} == {"auto"}


def test_the_readme_names_only_configs_that_exist() -> None:
    named = set(re.findall(r"--config[= ]([\w/.]+)", (ROOT / "README.md").read_text()))
    assert named - {"my.yaml"}
    assert named - {"my.yaml"} <= set(shipped_configs())
