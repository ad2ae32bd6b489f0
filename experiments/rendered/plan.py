"""What an experiment on rendered hands compares, and how much work each size of it is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import yaml

HERE = Path(__file__).parent
SUITES = HERE / "suites"
PRETRAIN, FINETUNE = HERE / "pretrain.yaml", HERE / "finetune.yaml"
SCRATCH = "scratch"
# Part of fine-tuning before a pre-trained encoder moves, chosen on validation hands; without pre-training there is
# nothing that a new head could spoil.
HEAD_FIRST = 1 / 6


@dataclass(frozen=True)
class Size:
    """How much work an experiment does.

    Attributes:
        train: unique hands to pre-train on; the pool that labels are taken from.
        evaluation: hands in scenes of their own: the test split.
        versions: pictures of each training hand, with different backgrounds, as in FreiHAND.
        picture_px: side of the rendered pictures.
        view_px: side of the views that the networks see.
        encoder: torchvision's name of the ResNet.
        width: factor on its channels.
        pretrain_batch: pairs per optimizer step.
        pretrain_steps: optimizer steps of each pre-training, the same for every arm.
        warmup_steps: of them, how many the learning rate rises over.
        finetune_batch: labeled pictures per optimizer step.
        finetune_steps: optimizer steps by schedule, as declared before anything was scored on the test split.
        trainer: options of Lightning's trainer; without a precision, the one that pays on this CPU.
        workers: processes that load, for each run.
    """

    train: int
    evaluation: int
    versions: int
    picture_px: int
    view_px: int
    encoder: Literal["resnet18", "resnet50"]
    width: float
    pretrain_batch: int
    pretrain_steps: int
    warmup_steps: int
    finetune_batch: int
    finetune_steps: dict[str, int]
    trainer: dict[str, str]
    workers: int = 0


SIZES = {
    "cpu": Size(
        train=5000,
        evaluation=1500,
        versions=4,
        picture_px=112,
        view_px=48,
        encoder="resnet18",
        width=0.5,
        pretrain_batch=64,
        pretrain_steps=2000,
        warmup_steps=100,
        finetune_batch=64,
        finetune_steps={"short": 300, "converged": 900},
        trainer={"accelerator": "cpu"},
    ),
    "gpu": Size(
        train=30000,
        evaluation=3000,
        versions=4,
        picture_px=224,
        view_px=128,
        encoder="resnet18",
        width=1.0,
        pretrain_batch=512,
        pretrain_steps=3000,
        warmup_steps=150,
        finetune_batch=128,
        finetune_steps={"short": 500, "converged": 3000},
        trainer={"accelerator": "gpu", "devices": "1", "precision": "bf16-mixed"},
        workers=8,
    ),
    "walk": Size(  # a minute's walk through every step; numbers mean nothing
        train=340,  # enough for 300 labels besides those held out
        evaluation=12,
        versions=2,
        picture_px=48,
        view_px=32,
        encoder="resnet18",
        width=0.25,
        pretrain_batch=8,
        pretrain_steps=3,
        warmup_steps=1,
        finetune_batch=8,
        finetune_steps={"short": 2, "converged": 3},
        trainer={"accelerator": "cpu"},
    ),
}
# `make demo`: at most ten minutes on two cores
SIZES["demo"] = replace(
    SIZES["cpu"],
    evaluation=1000,
    versions=2,
    width=0.25,
    pretrain_steps=1000,
    warmup_steps=50,
    finetune_steps={"short": 250},
)
# to compare many arms with one another
SIZES["brief"] = replace(SIZES["cpu"], width=0.25, pretrain_steps=300, warmup_steps=15)


@dataclass(frozen=True)
class Arm:
    """One way to train: a name, and what it changes in the config of its stage; `scratch` does not pre-train."""

    name: str
    overrides: tuple[str, ...]
    stage: Literal["pretrain", "finetune"] = "pretrain"

    @property
    def folder(self) -> str:
        """The name as that of a folder."""
        return "".join(letter if letter.isalnum() else "-" for letter in self.name.lower())


@dataclass(frozen=True)
class Suite:
    """What is compared.

    Attributes:
        name: of the file.
        title: of the figure.
        arms: ways to pre-train.
        probe_labels: numbers of labeled hands of the frozen probe; None is all that are not held out.
        finetune_labels: the same for fine-tuning.
        finetune_arms: names of the arms that are fine-tuned.
        score: which hands fine-tuned networks are scored on: "test" or "validate".
        baseline: name of an arm; tables show the others' differences to it, of the same seed.
        size: by default.
        pictured: names of fine-tuned arms whose predictions are drawn.
    """

    name: str
    title: str
    arms: tuple[Arm, ...]
    probe_labels: tuple[int | None, ...]
    finetune_labels: tuple[int, ...] = ()
    finetune_arms: tuple[str, ...] = ()
    score: Literal["test", "validate"] = "test"
    baseline: str | None = None
    size: str = "cpu"
    pictured: tuple[str, ...] = ()


def _flat(overrides: Sequence[str | list[str]]) -> Iterator[str]:
    """YAML cannot splice what `&` names into a list: `[*alone, …]` holds a list."""
    for override in overrides:
        if isinstance(override, str):
            yield override
        else:
            yield from override


def read_suite(name: str) -> Suite:
    """Read `suites/NAME.yaml`.

    Raises:
        ValueError: there is no such suite, or it names an arm that it does not have.
    """
    path = SUITES / f"{name}.yaml"
    if not path.is_file():
        raise ValueError(
            f"no suite {name!r}; there are: {', '.join(sorted(file.stem for file in SUITES.glob('*.yaml')))}"
        )
    content: dict[str, Any] = yaml.safe_load(path.read_text())
    stage, finetune = content.get("stage", "pretrain"), content.get("finetune", {})
    arms = tuple(Arm(arm, tuple(_flat(overrides or ())), stage) for arm, overrides in content["arms"].items())
    names = [arm.name for arm in arms]
    finetuned = tuple(finetune.get("arms", names if stage == "finetune" else ()))
    if unknown := {*finetuned, *content.get("pictured", ())} - set(names):
        raise ValueError(f"{path}: names {sorted(unknown)}, which are not among the arms")
    given = {key: content[key] for key in ("score", "baseline", "size") if key in content}
    return Suite(
        name=name,
        title=content["title"],
        arms=arms,
        probe_labels=tuple(content["probe"]["labels"]),
        finetune_labels=tuple(finetune.get("labels", ())),
        finetune_arms=finetuned,
        pictured=tuple(content.get("pictured", ())),
        **given,
    )
