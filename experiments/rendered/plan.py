"""What an embedded experiment compares, and how much work each size of it is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
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
        pretrain_batch: pairs per optimiser step.
        pretrain_steps: optimiser steps of each pre-training, the same for every arm.
        warmup_steps: of them, how many the learning rate rises over.
        finetune_batch: labelled pictures per optimiser step.
        finetune_steps: optimiser steps by schedule, as declared before anything was scored on the test split.
        trainer: options of Lightning's trainer.
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
        trainer={"accelerator": "cpu", "precision": "bf16-mixed"},
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
# to compare many arms with one another
SIZES["brief"] = replace(SIZES["cpu"], width=0.25, pretrain_steps=300, warmup_steps=15)


@dataclass(frozen=True)
class Arm:
    """One way to pre-train: a name, and what it changes in `pretrain.yaml`; `scratch` does not pre-train."""

    name: str
    overrides: tuple[str, ...]

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
        probe_labels: numbers of labelled hands of the frozen probe; None is all that are not held out.
        finetune_labels: the same for fine-tuning.
        finetune_arms: names of the arms that are fine-tuned.
    """

    name: str
    title: str
    arms: tuple[Arm, ...]
    probe_labels: tuple[int | None, ...]
    finetune_labels: tuple[int, ...] = ()
    finetune_arms: tuple[str, ...] = field(default=())


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
    arms = tuple(Arm(arm, tuple(_flat(overrides or ()))) for arm, overrides in content["arms"].items())
    finetune = content.get("finetune", {})
    unknown = set(finetune.get("arms", ())) - {arm.name for arm in arms}
    if unknown:
        raise ValueError(f"{path}: finetune.arms names {sorted(unknown)}, which are not among the arms")
    return Suite(
        name=name,
        title=content["title"],
        arms=arms,
        probe_labels=tuple(content["probe"]["labels"]),
        finetune_labels=tuple(finetune.get("labels", ())),
        finetune_arms=tuple(finetune.get("arms", ())),
    )
