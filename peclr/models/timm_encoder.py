"""Any image network of timm as an encoder: ViTs, ConvNeXts and a thousand others, by name.

Wightman, "PyTorch Image Models", 2019 (https://github.com/huggingface/pytorch-image-models). timm itself is imported
with the first encoder: that takes seconds.
"""

import difflib
import fnmatch
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

import torch
from torch import Tensor, nn

from peclr.models.encoders import Encoder, class_path_of
from peclr.untrusted.binary import check_tensors, read_safetensors, read_torch

DEFAULT: Final = "DEFAULT"  # torchvision's word for it, too
# Licenses for any use; timm's list has others, too, of DINOv3, MAE and Hiera for example
_FREE: Final = ("apache-2.0", "bsd-3-clause", "mit")
_HUB_FILES: Final = ("model.safetensors", "pytorch_model.bin")  # in timm's order
# what checkpoints and exported files of this package have before timm's keys
_OWN_PREFIXES: Final = ("encoder.model.", "pose_net.backend_model.model.", "backend_model.model.", "model.")
_NEAREST_SHOWN: Final = 3
RGB: Final = 3  # channels


class TimmEncoder(Encoder):
    """A network of timm from images to pooled features; its state dict is timm's behind `model.`.

    It normalizes as its weights expect, and takes views of one side where it has positional embeddings. Needs the
    extra: pip install 'peclr[timm]'.

    Args:
        name: timm's, with or without the tag of weights: "vit_small_patch16_224", "convnext_tiny.fb_in22k".
        weights: "DEFAULT" for those that timm publishes under this name, from the caches of huggingface_hub and torch;
            FileNotFoundError says how to get them: nothing is downloaded here. Or a file of them, safetensors or
            torch.save's, whose classifier is left out, or a checkpoint of this package. None starts from random ones.
            A line says the license of timm's: not all are free, DINOv3's, MAE's and Hiera's among them.
        view_size: side of the views, pixels, where the network depends on it; None is that of timm's weights. Modules
            that know their views change it.
        grad_checkpointing: in training, compute activations twice rather than keep them all; BatchNorm counts the
            first time alone under the modules of this package.
    """

    def __init__(
        self, name: str, weights: str | None = None, view_size: int | None = None, *, grad_checkpointing: bool = False
    ) -> None:
        super().__init__()
        self.name = name
        self.grad_checkpointing = grad_checkpointing
        self._published = _published(name)
        self.mean, self.std = self._published.mean, self._published.std
        if self._published.fixed_input_size:
            self.view_size = view_size or self._published.input_size[-1]
        self.model: Any = self._make(self.view_size)
        self.feature_dim = int(getattr(self.model, "head_hidden_size", None) or self.model.num_features)
        if weights is not None:
            self._load(weights)

    def forward(self, images: Tensor) -> Tensor:
        """Encode normalized images (B, 3, S, S) as (B, feature_dim)."""
        if self.view_size not in (None, images.shape[-1]):
            raise ValueError(f"{self.name} was made for views of {self.view_size} px, got {tuple(images.shape)}")
        features: Tensor = self.model(images)
        return features

    def for_view_size(self, view_size: int) -> Self:
        """Take views of that side, px, from now on: positional embeddings are resampled; ValueError if it cannot."""
        if self.view_size not in (None, view_size):
            self._resample(view_size)
        self._try(view_size)
        return self

    @property
    def description(self) -> str:
        """Its name in timm."""
        return self.name

    def config(self) -> dict[str, Any]:
        """Class path and arguments that build this encoder again, as in a run's config."""
        return {"class_path": class_path_of(type(self)), "init_args": {"name": self.name, "view_size": self.view_size}}

    def layers(self) -> list[list[nn.Parameter]]:
        """Parameters layer by layer, as timm groups them for layer-wise decay."""
        if not hasattr(self.model, "group_matcher"):
            return super().layers()
        from timm.models import group_parameters

        depths = group_parameters(self.model, self.model.group_matcher(coarse=False), reverse=True)
        layers: dict[int, list[nn.Parameter]] = {depth: [] for depth in sorted(set(depths.values()))}
        for name, parameter in self.model.named_parameters():
            layers[depths[name]].append(parameter)
        return list(layers.values())

    def undecayed(self) -> list[nn.Parameter]:
        """Positional embeddings, tokens and the like, as timm lists them: names, or patterns of names."""
        listed = list(getattr(self.model, "no_weight_decay", list)())
        return [
            parameter
            for name, parameter in self.model.named_parameters()
            if any(fnmatch.fnmatchcase(name, pattern) for pattern in listed)
        ]

    def convert_sync_batchnorm(self, module: nn.Module) -> None:
        """As torch's, which would drop the activations that timm's BatchNorm layers carry."""
        from timm.layers.norm_act import convert_sync_batchnorm

        layers = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
        if not all(isinstance(layer, nn.SyncBatchNorm) for layer in layers):  # those of timm only once
            convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]  # has no types

    def _make(self, view_size: int | None) -> Any:
        """A new network of that name, for views of that side if it depends on it; ValueError if it cannot be."""
        options = {} if view_size is None else {"img_size": view_size}
        with _refusing(f"{self.name} cannot take views of {view_size} px"):
            model = _timm().create_model(self.name, num_classes=0, **options)
        patch = getattr(getattr(model, "patch_embed", None), "patch_size", None)
        if view_size and isinstance(patch, tuple) and view_size % (side := patch[0]):  # timm would leave out the rest
            below = view_size - view_size % side
            near = " or ".join(f"{size} px" for size in (below, below + side) if size)
            raise ValueError(f"{self.name} has patches of {side} px: views of {view_size} px do not fit, {near} do")
        if self.grad_checkpointing:
            with _refusing(f"{self.name} has no grad_checkpointing"):
                model.set_grad_checkpointing()
        return model

    def _resample(self, view_size: int) -> None:
        """Replace the network by one for views of that side, px, with what it has learned; ValueError if it cannot."""
        with torch.random.fork_rng(devices=[]):  # what is drawn is replaced
            model = self._make(view_size)
        # not timm's `set_input_size`: of some networks, windows would depend on the sides that there were before
        what = f"{self.name} cannot go from views of {self.view_size} px to {view_size} px"
        try:
            state, _ = self._adapted(self.model.state_dict(), model, what)
        except ValueError as error:
            begin = f"with random weights it begins there, given view_size: {view_size} itself"
            raise ValueError(f"{error}; {begin}") from error
        model.load_state_dict(state)
        self.model, self.view_size = model.to(next(self.model.parameters()).device).train(self.training), view_size

    def _try(self, view_size: int) -> None:
        """Encode one image of that side, px; ValueError if the network cannot: timm does not say it of all of them."""
        image = torch.zeros(1, RGB, view_size, view_size, device=next(self.model.parameters()).device)
        with _refusing(f"{self.name} cannot take views of {view_size} px"), torch.no_grad():
            try:
                self.model.eval()(image)
            finally:
                self.model.train(self.training)

    def _load(self, weights: str) -> None:
        """Give the network the weights of a file, or timm's; lines say what of them was used, and their license."""
        path = _cached(self.name, self._published) if weights == DEFAULT else Path(weights)
        state, left_out = self._adapted(_read(path), self.model, f"{path}: not weights of {self.name}")
        self.model.load_state_dict(state, strict=False)  # BatchNorm's counters may lack
        _say(f"{path}: {len(state)} tensors used" + (f", left out {', '.join(left_out)}" if left_out else ""))
        whose = "timm's weights" if weights == DEFAULT else "weights, if they are timm's,"
        _say(f"{self.name}: {whose} are {_license(self._published)}")

    def _adapted(self, state: Mapping[str, Tensor], model: Any, what: str) -> tuple[dict[str, Tensor], list[str]]:
        """Weights for a network of this name, and those of a classifier, left out; ValueError if they do not fit."""
        adapt = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
        if adapt is not None:  # timm's: other names and shapes of the same weights, other grids of positions
            with _refusing(what), torch.no_grad():
                state = adapt(dict(state), model)
        expected = model.state_dict()
        classifiers = self._published.classifier or ()
        heads = (classifiers,) if isinstance(classifiers, str) else classifiers
        beginnings = tuple(f"{head.partition('.')[0]}." for head in heads)
        left_out = sorted(key for key in state if key not in expected and key.startswith(beginnings))
        state = {key: value for key, value in state.items() if key not in left_out}
        if faults := _faults(state, expected):
            raise ValueError(f"{what}: {faults[0]}" + (f", and {len(faults) - 1} more" if len(faults) > 1 else ""))
        return state, left_out


def _faults(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    """Reasons why weights are not those of a network; none if they are."""
    missing = [key for key in expected if key not in state and not key.endswith("num_batches_tracked")]
    shapes = {key: (tuple(state[key].shape), tuple(expected[key].shape)) for key in expected.keys() & state.keys()}
    return [
        *(f"it lacks {key}" for key in missing),
        *(f"its {key} is unknown" for key in state if key not in expected),
        *(f"its {key} has shape {found}, expected {own}" for key, (found, own) in shapes.items() if found != own),
    ]


def _timm() -> Any:
    """The module timm, or ValueError, which says how to install it."""
    try:
        import timm
    except ImportError as error:
        raise ValueError("timm is not installed; pip install 'peclr[timm]' brings it") from error
    return timm


def _published(name: str) -> Any:
    """What timm says of the weights of that name: license, mean and so on; ValueError if it has no such network."""
    timm = _timm()
    architecture, dot, tag = name.partition(".")
    if not timm.is_model(architecture):
        raise ValueError(f"timm has no network {name!r}{_nearest(architecture, timm.list_models())}")
    tags = [full.partition(".")[2] for full in timm.list_models(architecture, include_tags=True)]
    if dot and tag not in tags:
        near = _nearest(tag, tags) or f"; expected one of {', '.join(filter(None, tags)) or 'none'}"
        raise ValueError(f"timm has no weights {tag!r} of {architecture}{near}")
    published = timm.get_pretrained_cfg(name)
    if published is None or published.input_size[0] != RGB:
        raise ValueError(f"timm says of {name} no input that an image could be")
    return published


def _nearest(word: str, names: list[str]) -> str:
    """The end of a sentence that names those with the word in them, or most alike; empty if there are none."""
    inside = [name for name in names if word and word in name]
    found = inside[:_NEAREST_SHOWN] or difflib.get_close_matches(word, names, n=_NEAREST_SHOWN)
    return f"; near are {', '.join(found)}" if found else ""


def _cached(name: str, published: Any) -> Path:
    """The file of timm's weights in the cache that has it; FileNotFoundError says how to get it there."""
    if published.hf_hub_id:
        from huggingface_hub import try_to_load_from_cache

        names = (published.hf_hub_filename,) if published.hf_hub_filename else _HUB_FILES
        for file in names:  # never looks further than the disk
            if isinstance(found := try_to_load_from_cache(published.hf_hub_id, file), str):
                return Path(found)
        get = f"`hf download {published.hf_hub_id} {names[0]}` downloads them"
        address = f"https://huggingface.co/{published.hf_hub_id}"
    elif published.url and not published.custom_load:
        path = Path(torch.hub.get_dir(), "checkpoints", Path(published.url).name)
        if path.is_file():
            return path
        get, address = f"download {published.url} to {path}", published.url
    else:
        raise ValueError(f"timm publishes no weights of {name} that can be read here; give a file of them, or null")
    elsewhere = f"without network, fetch {address} elsewhere and give the file as weights; null starts from random ones"
    raise FileNotFoundError(f"weights of {name}, {_license(published)}, are in no cache: {get}; {elsewhere}")


def _read(path: Path) -> dict[str, Tensor]:
    """The weights in a file of timm's or in one of this package, by timm's keys; ValueError if it holds none."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of weights; {DEFAULT} takes those that timm publishes")
    content: Any = read_safetensors(path)[0] if path.suffix == ".safetensors" else read_torch(path)
    for key in ("state_dict", "model", "model_state"):  # where training scripts of the field keep them
        content = content.get(key, content) if isinstance(content, dict) else content
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ValueError(f"{path}: expected a file of tensors by name, as timm's weights are")
    check_tensors(content, path)
    for prefix in _OWN_PREFIXES:
        if own := {key.removeprefix(prefix): value for key, value in content.items() if key.startswith(prefix)}:
            return own
    return dict(content)


def _license(published: Any) -> str:
    license_name = published.license or "unknown"
    terms = "" if license_name in _FREE else ", not free for every use: read its terms"
    where = f", https://huggingface.co/{published.hf_hub_id}" if terms and published.hf_hub_id else ""
    return f"under {license_name}{terms}{where}"


@contextmanager
def _refusing(what: str) -> Iterator[None]:
    """Turn what timm's functions raise where they cannot do something into a ValueError."""
    try:
        yield
    except (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{what}{f': {reason}' if reason else ''}") from error


def _say(line: str) -> None:
    if os.environ.get("LOCAL_RANK", "0") == "0":  # of the processes that a run starts, the first
        print(f"peclr: {line}", file=sys.stderr)
