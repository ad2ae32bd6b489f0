"""Names in the configs of older runs, and what they are called now: the one place that knows."""

import re
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, Final, TypeVar

from peclr.untrusted.text import check_yaml, read_yaml, value_at

_MAKES_YAML: Final = re.compile(r"[\n\[{&*]")  # more than one plain value
_DATA: Final = "peclr.data"
Value = TypeVar("Value")
# options that name the class of a source, and the option that gave its root
_SOURCES: Final = tuple(f"--data{part}.sources{leaf}" for part in ("", ".init_args") for leaf in ("", ".class_path"))
_OLD_ROOT: Final = re.compile(r"^--data(\.init_args)?\.sources(\.init_args)?\.root(?==|$)")
# old class path, or old short name of a class → class path now
CLASSES: Final[dict[str, str]] = {
    f"{_DATA}.backgrounds.ReplaceBackground": f"{_DATA}.views.backgrounds.ReplaceBackground",
    f"{_DATA}.datamodules.LabelledHandDataModule": f"{_DATA}.datamodules.LabeledHandDataModule",
    f"{_DATA}.freihand.FreiHAND": f"{_DATA}.sources.freihand.FreiHAND",
    f"{_DATA}.pairing.AcrossVersions": f"{_DATA}.loading.pairing.AcrossVersions",
    f"{_DATA}.pairing.SameImage": f"{_DATA}.loading.pairing.SameImage",
    f"{_DATA}.pairing.Similar": f"{_DATA}.loading.pairing.Similar",
    f"{_DATA}.photos.Photos": f"{_DATA}.sources.image_files.ImageFiles",
    f"{_DATA}.sources.image_files.Photos": f"{_DATA}.sources.image_files.ImageFiles",
    f"{_DATA}.prepared_crops.PreparedCrops": f"{_DATA}.sources.shards.PreparedCrops",
    f"{_DATA}.sources.crops.PreparedCrops": f"{_DATA}.sources.shards.PreparedCrops",
    f"{_DATA}.selection.SelectedHands": f"{_DATA}.sources.composed.SelectedHands",
    f"{_DATA}.sources.selection.SelectedHands": f"{_DATA}.sources.composed.SelectedHands",
    f"{_DATA}.videos.Videos": f"{_DATA}.sources.videos.Videos",
    f"{_DATA}.youtube3d.YouTube3DHands": f"{_DATA}.sources.youtube3d.YouTube3DHands",
    "peclr.tracking.artifacts.CheckpointArtifacts": "peclr.tracking.loggers.CheckpointArtifacts",
    "LabelledHandDataModule": "LabeledHandDataModule",
    "Photos": "ImageFiles",
    "peclr.training.throughput.CompileEncoder": "peclr.training.callbacks.CompileEncoder",
    **{
        f"{module}{part}Pictures": f"{module and 'peclr.tracking.images.'}{part}Images"
        for module in ("", "peclr.tracking.pictures.")
        for part in ("View", "Projection", "Pose")
    },
}
# old name of a logged metric, which a config may monitor → name now
METRICS: Final[dict[str, str]] = {"probe/epe_mm": "probe/root_relative_epe_mm"}
# old name of what a result table compares → name now: without pre-training
ARMS: Final[dict[str, str]] = {"random": "scratch"}
# option that older runs did not know, in a run's config → the value by which they went, where it is not null
ABSENT: Final[dict[str, Any]] = {"model.init_args.solve_head": False, "data.init_args.shards_at_once": "auto"}
# name of a metric → its name in the scores.json of version 0.1, and the unit there, of means cm
_SCORES: Final[dict[str, tuple[str, float]]] = {
    "epe_mm": ("xyz_mean3d", 10.0),
    "root_relative_epe_mm": ("xyz_rel_mean3d", 10.0),
    "pa_epe_mm": ("xyz_al_proper_mean3d", 10.0),
    "auc": ("xyz_auc3d", 1.0),
    "pa_auc": ("xyz_al_proper_auc3d", 1.0),
    "mesh_epe_mm": ("mesh_mean3d", 10.0),
    "pa_mesh_epe_mm": ("mesh_al_mean3d", 10.0),
    "f_score_5": ("f_al_score_5", 1.0),
    "f_score_15": ("f_al_score_15", 1.0),
}


def renamed(class_path: str) -> str:
    """The present path of a class, or name of a metric; an old one is reported once on stderr."""
    now = (CLASSES | METRICS).get(class_path, class_path)
    if now != class_path:
        _report(class_path, now)
    return now


def renewed(config: Any) -> Any:
    """A copy of a config, or of a part of one, with present names.

    The text None is no value: jsonargparse 4 made it of a null, and older versions saved it.
    """
    if isinstance(config, str):  # a class without arguments may be written as its path alone
        return None if config == "None" else renamed(config)
    if isinstance(config, list):
        return [renewed(part) for part in config]
    return {key: renewed(part) for key, part in config.items()} if isinstance(config, dict) else config


def renewed_arguments(words: Sequence[str], configs: Sequence[Any] = ()) -> list[str]:
    """Words of a command line under present names; they override `configs`, and those that they name.

    Values, after the last =, may be old class paths. The root of a source is `data.root` where nobody has named a
    source: shipped configs of version 0.1 did.
    """
    if any(map(_OLD_ROOT.match, words)) and not any(word.partition("=")[0] in _SOURCES for word in words):
        files = [word.partition("=")[2] for word in words if word.startswith(("--config=", "-c="))]
        files += [value for option, value in pairwise(words) if option in ("--config", "-c")]
        read = (read_yaml(Path(file)) for file in files if Path(file).is_file())
        if all(value_at(config, "data", "init_args", "sources") is None for config in chain(configs, read)):
            _report("--data.sources.init_args.root", "--data.root")
            words = [_OLD_ROOT.sub("--data.root", word) for word in words]
    return list(map(_renewed_argument, words))


def _renewed_argument(word: str) -> str:
    option, equals, value = word.rpartition("=")
    return f"{option}{equals}{renamed(value)}" if "." in value or option.endswith("class_path") else word


def renewed_metrics(values: Mapping[str, Value]) -> dict[str, Value]:
    """What an older run has logged, under the present names."""
    return {METRICS.get(name, name): value for name, value in values.items()}


def renewed_scores(content: dict[str, Any]) -> dict[str, Any]:
    """The content of a scores.json with its "metrics", which version 0.1 had as "scores" and "further"."""
    parts = [content[name] for name in ("scores", "further") if isinstance(content.get(name), dict)]
    old = {name: value for part in parts for name, value in part.items()}
    known = {name: (old[there], unit) for name, (there, unit) in _SCORES.items() if there in old}
    if "metrics" in content or not known:
        return content
    return content | {"metrics": {n: v * unit if type(v) in (int, float) else v for n, (v, unit) in known.items()}}


def config_mode() -> str:
    """The mode in which jsonargparse reads YAML old names renewed and no key twice; registered by the call."""
    import yaml
    from jsonargparse import get_loader, set_loader

    read = get_loader("yaml")

    def strictly(text: str) -> Any:
        if _MAKES_YAML.search(text):
            try:
                check_yaml(text)
            except ValueError as error:
                raise yaml.YAMLError(str(error)) from error
        return renewed(read(text))

    set_loader("peclr", strictly, (yaml.YAMLError,))
    return "peclr"


@cache
def _report(old: str, now: str) -> None:
    print(f"peclr: config uses the old name {old}: now {now}", file=sys.stderr)
