"""Checkpoint files to tensors by name: what torch.save and safetensors wrote, and never any code."""

from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from peclr.runs.about import KEY, About
from peclr.runs.layout import check_view_size, listed
from peclr.untrusted.binary import check_tensors, read_torch
from peclr.untrusted.text import parse_json

StateDict = dict[str, Tensor]

SAFETENSORS_SUFFIX = ".safetensors"
# Configs and callbacks that the published training code pickles beside its weights: PeCLR's and SiMHand's
# hyper-parameters are EasyDicts, and early Lightning names a callback's state by its class.
_INERT = (
    "easydict.EasyDict",
    "pytorch_lightning.callbacks.",
    "pytorch_lightning.utilities.parsing.",
    "lightning_fabric.utilities.data.",
)


class Content(NamedTuple):
    """The content of a file of weights: tensors on the CPU, and what it says of itself if it is ours."""

    state: StateDict
    about: About | None = None
    view_size: int | None = None  # px, in files that are older than `about`


def read_content(path: Path) -> Content:
    """Read a file of safetensors if its name ends so, else one of torch.save, with weights_only.

    Tensors are the file's own mapping, or under its key `state_dict`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, holds more than weights_only lets through, or no tensors by name; or it says
            something of itself that this version does not understand.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint")
    if path.suffix == SAFETENSORS_SUFFIX:
        return _read_safetensors(path)
    content = read_torch(path, _INERT)
    # as a key of checkpoints, as an attribute of state dicts for torchvision, which has no use for further keys
    said = content.get(KEY) if isinstance(content, dict) else None
    said = getattr(content, KEY, None) if said is None else said
    about = None if said is None else About.read(said, path)
    state = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        found = f"a mapping with {listed(content)}" if isinstance(content, dict) else f"a {type(content).__name__}"
        raise ValueError(f"{path}: expected a state dict or a mapping with 'state_dict', found {found}")
    check_tensors(state, path)
    return Content(dict(state), about)


def require_extra(module: str) -> None:
    """Import an optional dependency; ValueError says how to install it."""
    try:
        __import__(module)
    except ImportError as error:
        raise ValueError(f"{module} is not installed; pip install 'peclr[export]' brings it") from error


def _read_safetensors(path: Path) -> Content:
    require_extra("safetensors")
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no mapping
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: damaged or no safetensors file ({error})") from error
    check_tensors(state, path)
    said = parse_json(metadata.get(KEY, "null"), f"{path}, {KEY!r}")
    if said is not None:
        return Content(state, About.read(said, path))
    size = metadata.get("view_size")  # of what version 0.1 exported
    if size is None:
        return Content(state)
    return Content(state, None, check_view_size(int(size) if size.isdecimal() else size, path))
