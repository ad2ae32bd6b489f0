"""What an experiment on rendered hands compares, and how much work each size of it is."""

import tomllib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import yaml
from msgspec import Struct, ValidationError, convert, structs

HERE: Final = Path(__file__).parent
SUITES: Final = HERE / "suites"
PRETRAIN, FINETUNE = HERE / "pretrain.yaml", HERE / "finetune.yaml"
SCRATCH: Final = "scratch"


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much work an experiment does."""

    train: int  # unique hands to pre-train on; the pool that labels are taken from
    evaluation: int  # hands in scenes of their own: the test split
    versions: int  # images of each training hand, with different backgrounds, as in FreiHAND
    picture_px: int  # side of the rendered images
    view_px: int  # side of the views that the networks see
    encoder: Literal["resnet18", "resnet50"]
    width: float  # factor on the encoder's channels
    pretrain_batch: int  # pairs per optimizer step
    pretrain_steps: int  # optimizer steps of each pre-training, the same for every arm
    warmup_steps: int  # of them, how many the learning rate rises over
    finetune_batch: int  # labeled images per optimizer step
    finetune_steps: dict[str, int]  # by schedule, as declared before anything was scored on the test split
    trainer: dict[str, str]  # options of Lightning's; without a precision, the one that pays on this CPU
    workers: int = 0  # processes that load, for each run


SIZES: Final[dict[str, Size]] = {}
for _name, _fields in tomllib.loads((HERE / "sizes.toml").read_text(encoding="utf-8")).items():
    _like = asdict(SIZES[_fields.pop("like")]) if "like" in _fields else {}
    SIZES[_name] = convert(_like | _fields, Size)


class Arm(Struct, frozen=True, forbid_unknown_fields=True):
    """One way to train: a name, and what it changes in the config of its stage; `scratch…` do not pre-train."""

    name: str
    overrides: tuple[str, ...] = ()
    stage: Literal["pretrain", "finetune"] = "pretrain"
    times: dict[Literal["view_px", "pretrain_steps"], float] = {}  # factors on the size, of all stages

    @property
    def pretrains(self) -> bool:
        """Whether it starts from anything but random weights."""
        return not self.name.startswith(SCRATCH)

    def sized(self, size: Size) -> Size:
        """How much work this arm does."""
        changed: dict[str, Any] = {field: round(getattr(size, field) * factor) for field, factor in self.times.items()}
        return replace(size, **changed)

    @property
    def plan(self) -> Any:
        """What its folder notes of it."""
        return {"overrides": self.overrides, "times": self.times} if self.times else self.overrides

    @property
    def step_cost(self) -> float:
        """How long its steps take, in steps of an arm that changes nothing; measured at twice the side, which is 2."""
        return self.times.get("view_px", 1.0)

    @property
    def folder(self) -> str:
        """The name as that of a folder."""
        return "".join(letter if letter.isalnum() else "-" for letter in self.name.lower())


class Suite(Struct, frozen=True, forbid_unknown_fields=True):
    """What is compared: a file of `suites/`, by its name."""

    name: str
    title: str  # of the figure
    arms: tuple[Arm, ...]
    probe_labels: tuple[int | None, ...] = ()  # numbers of labeled hands; None is all that are not held out
    finetune_labels: tuple[int | None, ...] = ()  # the same
    finetune_arms: tuple[str, ...] = ()  # names of those that are fine-tuned; empty for all
    score: Literal["test", "validate"] = "test"  # the hands that probes and fine-tuned networks are scored on
    baseline: str | None = None  # tables show the other arms' differences to this one, of the same seed
    size: str = "cpu"  # by default
    pictured: tuple[str, ...] = ()  # fine-tuned arms whose predictions are drawn
    schedules: dict[str, tuple[int | None, ...]] = {}  # what `finetune_labels` are for schedules that have others

    def only(self, names: Collection[str]) -> "Suite":
        """The suite with some of its arms; ValueError if it does not have them."""
        if unknown := sorted({*names} - {arm.name for arm in self.arms}):
            raise ValueError(f"{self.name} has no arms {unknown}; it has {[arm.name for arm in self.arms]}")
        tuned = tuple(arm.name for arm in self.arms if arm.name in (self.finetune_arms or names) and arm.name in names)
        return structs.replace(
            self,
            arms=tuple(arm for arm in self.arms if arm.name in names),
            # empty would be all
            finetune_arms=tuned,
            finetune_labels=self.finetune_labels if tuned else (),
            schedules=self.schedules if tuned else {},
        )


def read_suite(name: str, folder: Path | None = None) -> Suite:
    """Read `NAME.yaml`; ValueError if there is none, it is no suite, or it names arms that it does not have."""
    folder = folder or SUITES
    path = folder / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
        raise ValueError(f"no suite {name!r}; there are: {known}")
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    stage = content.pop("stage", "pretrain")
    given = {arm: words if isinstance(words, dict) else {"overrides": words} for arm, words in content["arms"].items()}
    arms = [
        {"name": arm, "stage": stage, **fields, "overrides": [*_flat(fields.get("overrides") or ())]}
        for arm, fields in given.items()
    ]
    try:
        suite = convert({**content, "name": name, "arms": arms}, Suite)
    except ValidationError as error:
        raise ValueError(f"{path}: {error}") from error
    named = {*suite.finetune_arms, *suite.pictured, *((suite.baseline,) if suite.baseline else ())}
    if unknown := named - {arm.name for arm in suite.arms}:
        raise ValueError(f"{path}: names {sorted(unknown)}, which are not among the arms")
    return suite


def _flat(overrides: Sequence[str | list[str]]) -> Iterator[str]:
    """YAML cannot splice what `&` names into a list: `[*alone, …]` holds a list."""
    for override in overrides:
        yield from [override] if isinstance(override, str) else override
