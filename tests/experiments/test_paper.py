"""The paper's configs compose, its README's commands parse, and one composed case runs."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from peclr.__main__ import main
from peclr.data.views.geometric import GeometryRange
from peclr.data.views.photometric import Photometric
from peclr.evaluate.command import _parser as evaluate_parser
from peclr.sweeps.plan import read_sweep

if TYPE_CHECKING:
    from tests.experiments.conftest import Parse

ROOT = Path(__file__).parents[2]
PAPER = ROOT / "experiments" / "paper"
COMMANDS = re.findall(r"`python -m peclr ([^`]+)` \|", (PAPER / "README.md").read_text())
PRETRAIN = "--config=experiments/paper/pretrain.yaml"


@pytest.fixture(autouse=True)
def _at_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_table_parses(command: str, parse: Parse) -> None:
    subcommand, *words = shlex.split(command)
    if subcommand == "fit":
        config = parse(words)
        assert str(config.run_dir) in command
        model = config.model.init_args
        if "PretrainModule" in config.model.class_path:
            assert model.encoder.init_args.name == ("resnet152" if "resnet152" in command else "resnet50")
        else:  # of its weights
            assert model.encoder is None
            assert model.weights is not None
    elif subcommand == "sweep":
        assert len(read_sweep(Path(words[0])).runs()) > 1  # test_sweep_files.py parses them
    else:
        assert subcommand == "evaluate"
        assert evaluate_parser().parse_args(words).data is not None


def test_the_table_names_every_sweep_and_overlay_is_used() -> None:
    named = " ".join(COMMANDS)
    assert all(str(path.relative_to(ROOT)) in named for path in PAPER.glob("sweeps/*.yaml"))
    said = named + "".join(path.read_text() for path in PAPER.glob("sweeps/*.yaml"))
    overlays = [*PAPER.glob("overlays/*.yaml"), *PAPER.glob("augmentations/*.yaml")]
    assert [str(path) for path in overlays if str(path.relative_to(ROOT)) not in said] == []


def test_what_commands_read_is_what_others_wrote() -> None:
    written = {match for command in COMMANDS for match in re.findall(r"--run_dir=(\S+)", command)}
    for path in PAPER.glob("sweeps/*_pretrain.yaml"):
        sweep = read_sweep(path)
        written |= {f"runs/sweeps/{sweep.name}/{name}" for name in sweep.runs()}
    read = {match for command in COMMANDS for match in re.findall(r"(runs/\S+)/checkpoints/last.ckpt", command)}
    for path in PAPER.glob("sweeps/*.yaml"):
        read |= set(re.findall(r"(runs/\S+)/checkpoints/last.ckpt", path.read_text()))
    assert len(read) > 20
    assert read <= written


def test_overlays_change_one_thing(parse: Parse) -> None:
    before = parse([PRETRAIN])
    assert before.data.init_args.geometry == before.data.init_args.photometric == "published"
    assert [source.class_path.split(".")[-1] for source in before.data.init_args.sources] == [
        "FreiHAND",
        "YouTube3DHands",
    ]
    after = parse([PRETRAIN, *(f"--config=experiments/paper/overlays/{name}.yaml" for name in ("simclr", "resnet152"))])
    assert after.model.init_args.objective.class_path.endswith(".SimCLR")
    assert after.model.init_args.encoder.init_args.name == "resnet152"
    assert after.data == before.data
    assert after.trainer == before.trainer
    root = "--data.root=elsewhere"
    alone = parse([PRETRAIN, "--config=experiments/paper/overlays/freihand.yaml", root])
    assert (alone.data.init_args.root, alone.data.init_args.sources) == ("elsewhere", None)
    frozen = parse(["--config=experiments/paper/finetune.yaml", "--config=experiments/paper/overlays/frozen.yaml"])
    assert (frozen.model.init_args.freeze_encoder, frozen.trainer.max_epochs) == (True, 50)


def test_the_full_composition_is_the_reference(parse: Parse) -> None:
    config = parse([PRETRAIN, "--config=experiments/paper/augmentations/jitter_crop_random_crop_rotate.yaml"])
    drawn = {**config.data.init_args.geometry.as_dict(), "translation": GeometryRange().translation}
    assert GeometryRange(**drawn) == GeometryRange.published()
    assert Photometric(**config.data.init_args.photometric.as_dict()) == Photometric.published()


def write_videos(root: Path, hands: int) -> None:
    """A tiny YouTube3DHands: one frame per hand, every other a left one."""
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for number in range(hands):
        name = f"youtube/channel/video/frames/{number}.png"
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / name), rng.integers(0, 256, (80, 120, 3), np.uint8))
        images.append({"name": name, "width": 120, "height": 80, "id": number})
        vertices = rng.uniform(-15, 15, (778, 3)) + np.array([60, 40, 0])
        annotations.append({"vertices": vertices.tolist(), "is_left": number % 2, "image_id": number, "id": number})
    (root / "youtube_train.json").write_text(json.dumps({"images": images, "annotations": annotations}))


def test_a_composed_pretraining_runs_on_both_data_sets(rendered_hands: Path, tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    write_videos(videos, 8)
    sources = f"[{{class_path: FreiHAND, init_args: {{root: {rendered_hands}}}}}, "
    sources += f"{{class_path: YouTube3DHands, init_args: {{root: {videos}}}}}]"
    words = [
        PRETRAIN,
        "--config=experiments/paper/overlays/simclr.yaml",
        f"--data.sources={sources}",
        "--model.encoder.init_args={name: resnet18, width: 0.125, weights: null}",
        "--data.view_size=32",
        "--data.batch_size=4",
        "--data.num_workers=0",
        "--data.val_fraction=0.25",
        "--trainer.fast_dev_run=true",
        "--trainer.accelerator=cpu",
        "--trainer.precision=32-true",
        "--trainer.enable_progress_bar=false",
        "--trainer.enable_model_summary=false",
    ]
    assert main(["fit", *words, f"--run_dir={tmp_path / 'run'}"]) == 0
