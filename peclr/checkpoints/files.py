"""Checkpoint files to tensors by name: what torch.save and safetensors wrote, and never any code."""

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from peclr.runs.layout import listed

StateDict = dict[str, Tensor]

SAFETENSORS_SUFFIX = ".safetensors"
# Configs and callbacks that the published training code pickles beside its weights: PeCLR's and SiMHand's
# hyper-parameters are EasyDicts, and early Lightning names a callback's state by its class.
_INERT_CLASSES = ("easydict.EasyDict",)
_INERT_MODULES = (
    "pytorch_lightning.callbacks.",
    "pytorch_lightning.utilities.parsing.",
    "lightning_fabric.utilities.data.",
)


def read_state_dict(path: Path) -> StateDict:
    """The tensors of a checkpoint, on the CPU: the file's own mapping, or the one under its key `state_dict`.

    Args:
        path: written by safetensors if its name ends so, else by torch.save; read with weights_only.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, holds more than weights_only lets through, or no tensors by name.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint")
    content = _read_safetensors(path) if path.suffix == SAFETENSORS_SUFFIX else _read_pickled(path)
    state = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        found = f"a mapping with {listed(content)}" if isinstance(content, dict) else f"a {type(content).__name__}"
        raise ValueError(f"{path}: expected a state dict or a mapping with 'state_dict', found {found}")
    return dict(state)


def require_extra(module: str) -> None:
    """Import an optional dependency.

    Raises:
        ValueError: it is not installed; the message says how to.
    """
    try:
        __import__(module)
    except ImportError as error:
        raise ValueError(f"{module} is not installed; pip install 'peclr[export]' brings it") from error


def _read_safetensors(path: Path) -> StateDict:
    require_extra("safetensors")
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: damaged or no safetensors file ({error})") from error


def _read_pickled(path: Path) -> Any:
    needed = _needed_classes(path)
    inert = [name for name in needed if name in _INERT_CLASSES or name.startswith(_INERT_MODULES)]
    try:
        # the names lead to Python's own mapping: nothing of theirs is imported or called
        with torch.serialization.safe_globals([(OrderedDict, name) for name in inert]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # of PyTorch's long message the first lines would suggest to switch weights_only off
        refused = [name for name in needed if name not in inert]
        reason = f"it needs {listed(refused)} to be unpickled" if refused else "it is no file of torch.save"
        raise ValueError(f"{path}: cannot be read with weights_only: {reason}") from error
    except (RuntimeError, EOFError, OSError) as error:
        raise ValueError(f"{path}: damaged or no file of torch.save ({error})") from error


def _needed_classes(path: Path) -> list[str]:
    """What a file would import beyond weights_only's own list."""
    try:
        return torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except (ValueError, RuntimeError, EOFError, OSError, pickle.UnpicklingError):
        return []  # damaged, or not in torch.save's present format: loading tells which
