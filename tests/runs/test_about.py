"""What files of weights say of themselves: enough to build and use them again, and refused where it is not."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from peclr.losses.objectives import AffinePeCLR, GeometryHead, PeCLR, SimCLR, SiMHand, SoftPeCLR, SplitObjective, VICReg
from peclr.losses.pose import PoseLoss
from peclr.models.encoders import ResNetEncoder
from peclr.runs.about import FORMAT, KEY, About, config_of

ABOUT = About(
    kind="finetune",
    encoder=ResNetEncoder("resnet18", 0.3).config(),
    objective=config_of(PoseLoss(depth_weight=2.0)),
    view_size=48,
)


def built(config: dict[str, Any]) -> Any:
    module, _, name = config["class_path"].rpartition(".")
    arguments = {key: built(value) if isinstance(value, dict) else value for key, value in config["init_args"].items()}
    return getattr(importlib.import_module(module), name)(**arguments)


@pytest.mark.parametrize(
    "original",
    [
        SimCLR(0.1),
        PeCLR(0.2, rotation=False),
        AffinePeCLR(0.3),
        SiMHand(0.4, translation=False, negative=False),
        SoftPeCLR(0.4, radius=0.3),
        SplitObjective(SimCLR(0.1), AffinePeCLR(0.2), share=0.25, weight=2.0),
        VICReg(invariance=10.0, rotation=False),
        GeometryHead(SimCLR(0.3), weight=0.5, hidden=32),
        PoseLoss(root_weight=3.0),
        ResNetEncoder("resnet18", 0.3),
    ],
    ids=lambda original: type(original).__name__,
)
def test_a_config_builds_the_same_again(original: torch.nn.Module) -> None:
    again = built(json.loads(json.dumps(config_of(original))))
    assert type(again) is type(original)
    simple = (bool, int, float, str)
    attributes = {name: value for name, value in vars(original).items() if isinstance(value, simple) and name[0] != "_"}
    assert {name: vars(again)[name] for name in attributes} == attributes
    assert config_of(again) == config_of(original)
    assert [value.shape for value in again.parameters()] == [value.shape for value in original.parameters()]


def test_it_passes_through_json_and_through_weights_only(tmp_path: Path) -> None:
    torch.save({KEY: ABOUT.as_dict()}, tmp_path / "x.ckpt")
    for said in (json.loads(json.dumps(ABOUT.as_dict())), torch.load(tmp_path / "x.ckpt", weights_only=True)[KEY]):
        assert About.read(said, Path("x.ckpt")) == ABOUT


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"view_size": "48"}, "view_size '48', expected a whole number of pixels"),
        ({"view_size": 48.0}, r"view_size 48\.0, expected"),
        ({"view_size": True}, "view_size True, expected"),
        ({"view_size": 0}, "view_size 0, expected"),
        ({"view_size": 10**6}, "view_size 1000000, expected"),
        ({"mean": torch.zeros(3)}, "not plain data"),
        ({"encoder": {"class_path": torch.zeros(3)}}, "not plain data"),
        ({"view_size": None}, "view_size None, expected"),
        ({"format": FORMAT + 1, "version": "9.9"}, rf"peclr 9\.9 wrote it, in format {FORMAT + 1}; .*: update it"),
        ({"format": "1"}, "format '1', expected a number"),
        ({"mean": [0.5, 0.5]}, r"mean \[0\.5, 0\.5\], expected three numbers from 0 to 1"),
        ({"mean": [0.5, "0.5", 0.5]}, "mean .*, expected three numbers"),
        ({"mean": [123.7, 116.3, 103.5]}, "mean .*, expected three numbers"),
        ({"mean": [0.5, 0.5, float("nan")]}, "(mean .*, expected three numbers|not valid JSON)"),
        ({"std": [0.2, 0.0, 0.2]}, r"std .*, expected three numbers from 0\.001 to 1"),
        ({"joints": "mano"}, "joints 'mano', expected 'freihand'"),
    ],
)
def test_what_this_version_cannot_do_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=rf"^x\.ckpt: .*{reason}"):
        About.read(ABOUT.as_dict() | changes, Path("x.ckpt"))


@pytest.mark.parametrize("said", [None, "text", {}, {"format": 1, "kind": "finetune"}])
def test_what_is_incomplete_is_refused(said: Any) -> None:
    with pytest.raises(ValueError, match=r"^x\.ckpt: its 'peclr' (has format|lacks encoder, objective, view_size)"):
        About.read(said, Path("x.ckpt"))


def test_an_encoder_may_leave_the_size_of_views_open() -> None:
    encoder = About(kind="pretrain", encoder=ABOUT.encoder)
    assert About.read(encoder.as_dict(), Path("x.ckpt")).view_size is None


def test_an_encoder_may_normalize_in_its_own_way() -> None:
    about = About.read(ABOUT.as_dict() | {"mean": [0.5, 0.4, 0.3], "std": [0.5, 0.5, 0.5]}, Path("x.ckpt"))
    assert (about.mean, about.std) == ((0.5, 0.4, 0.3), (0.5, 0.5, 0.5))
