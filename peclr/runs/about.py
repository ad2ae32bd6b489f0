"""What a checkpoint or an exported file says of itself under the key `peclr`: all that its use takes, in primitives."""

import inspect
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal, Self

from peclr import __version__
from peclr.data.views.geometric import Border
from peclr.models.encoders import IMAGENET_MEAN, IMAGENET_STD, Encoder, class_path_of
from peclr.runs.aliases import renewed
from peclr.runs.layout import check_view_size, check_views
from peclr.untrusted.text import parse_json

KEY: Final = "peclr"
FORMAT: Final = 1
_CHANNELS, _LEAST_STD = 3, 1e-3
_ADDED: Final = ("border", "crop_margin")  # to format 1: readers that do not know them do as before


@dataclass(frozen=True, kw_only=True)
class About:
    """Description of weights: what they are, and how to use them; None where nothing says it."""

    kind: Literal["pretrain", "finetune"]
    encoder: Mapping[str, Any]  # class_path and init_args, as in a run's config
    objective: Mapping[str, Any] | None = None  # the same
    view_size: int | None = None  # side, pixels
    mean: tuple[float, ...] = IMAGENET_MEAN  # of the network's input, RGB in 0…1, to be subtracted
    std: tuple[float, ...] = IMAGENET_STD  # to divide by afterward
    border: Border | None = None  # what its views showed beyond the image
    crop_margin: float | None = None  # of views around keypoints: half side over the distance of the farthest
    joints: str = "freihand"  # the order in which the network gives joints
    version: str = __version__  # of peclr
    format: int = FORMAT  # of this description

    def as_dict(self) -> dict[str, Any]:
        """Primitives, which weights_only and JSON let through."""
        return asdict(self) | {"mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def read(cls, content: Any, path: Path) -> Self:
        """Check what a file says of itself; ValueError if that is of a later version, incomplete, or out of reach."""
        try:  # tensors and the like, which printing, comparing or writing it would stumble over
            said = parse_json(json.dumps(content), f"{path}, {KEY!r}")
        except (TypeError, RecursionError) as error:
            raise ValueError(f"{path}: its {KEY!r} is not plain data: {error}") from error
        said = said if isinstance(said, dict) else {}
        if type(number := said.get("format")) is not int or number < 1:
            raise ValueError(f"{path}: its {KEY!r} has format {number!r}, expected a number from 1")
        if number > FORMAT:
            update = f"peclr {__version__} reads formats up to {FORMAT}: update it"
            raise ValueError(f"{path}: peclr {said.get('version')} wrote it, in format {number}; {update}")
        said |= {name: said.get(name) for name in _ADDED}
        if missing := [field.name for field in fields(cls) if field.name not in said]:
            raise ValueError(f"{path}: its {KEY!r} lacks {', '.join(missing)}")
        if said["view_size"] is not None or said["kind"] == "finetune":
            check_view_size(said["view_size"], path)
        check_views(said["border"], said["crop_margin"], f"{path}: its {KEY!r}")
        if said["joints"] != "freihand":
            raise ValueError(f"{path}: its {KEY!r} has joints {said['joints']!r}, expected 'freihand'")
        known = {field.name: said[field.name] for field in fields(cls)}
        known |= {name: renewed(said[name]) for name in ("encoder", "objective")}
        known |= {name: _of_channels(said[name], name, path) for name in ("mean", "std")}
        return cls(**known)


def _of_channels(value: Any, name: str, path: Path) -> tuple[float, ...]:
    """Check a mean or a standard deviation of an image's three channels in 0…1."""
    least = 0.0 if name == "mean" else _LEAST_STD
    numbers = isinstance(value, list) and len(value) == _CHANNELS and all(type(part) in (int, float) for part in value)
    if not numbers or not all(least <= part <= 1 for part in value):
        raise ValueError(f"{path}: its {KEY!r} has {name} {value!r}, expected three numbers from {least:g} to 1")
    return tuple(value)


def encoder_facts(encoder: Encoder) -> dict[str, Any]:
    """What an `About` says of an encoder."""
    return {"encoder": config_of(encoder), "mean": tuple(encoder.mean), "std": tuple(encoder.std)}


def config_of(built: Any) -> dict[str, Any]:
    """Class path and arguments of an object: its `config()`, or attributes that are called like arguments."""
    if hasattr(built, "config"):
        return dict(built.config())
    names = [name for name in inspect.signature(type(built)).parameters if hasattr(built, name)]
    arguments = {name: _plain(getattr(built, name)) for name in names}
    return {"class_path": class_path_of(type(built)), "init_args": arguments}


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    return value if value is None or isinstance(value, bool | int | float | str) else config_of(value)
