"""Type hints of options in plain words: what a value may be, which classes there are, which options they have."""

import dataclasses
import inspect
import types
from argparse import ArgumentError
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, Union, get_args, get_origin

from jsonargparse import ArgumentParser

# the only way to options that a constructor passes on as **kwargs, which the parser reads by the same function
from jsonargparse._parameter_resolvers import get_signature_parameters
from torch import Tensor

from peclr.options import MOST_CHOICES, choices

_LIBRARIES: Final = ("torch", "torchmetrics", "torchvision", "pytorch_lightning", "lightning_fabric", "jsonargparse")
# bases, and what commands make themselves: a config has no use for them
_NOT_FOR_CONFIGS: Final = (
    *("RecipeModule", "EpochCallback", "SaveRunConfig", "FirstStep", "FiniteLoss", "ResultsFile", "MetricsFile"),
    *("SelectedHands", "JoinedHands", "LARS"),
)
_WORDS: Final = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    Path: "a path",
    Tensor: "a tensor",
    timedelta: "a time span",
    types.NoneType: "null",
    dict: "a mapping",
    Any: "anything",
}


class Option(NamedTuple):
    """An option of a class: an argument of its constructor."""

    hint: Any
    needed: bool = False
    help: str = ""  # its docstring's line
    default: Any = None


def alternatives(hint: Any) -> list[Any]:
    """The members of a union, at any depth; a hint that is none, alone."""
    if get_origin(hint) is Annotated:
        return alternatives(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType):
        return [one for part in get_args(hint) for one in alternatives(part)]
    return [hint]


def element(hint: Any) -> Any:
    """The hint of what a list holds; None if the hint takes no list of one kind."""
    kinds = [one for one in alternatives(hint) if get_origin(one) not in (None, Callable, Literal)]
    lists = [get_args(one)[0] for one in kinds if _is_list(get_origin(one)) and get_args(one)]
    return lists[0] if lists else None


def _is_list(origin: Any) -> bool:
    return inspect.isclass(origin) and issubclass(list, origin)


def base_of(hint: Any) -> type | None:
    """The class of which, or of whose subclasses, a config makes the value; None if the hint names none."""
    for one in alternatives(hint):
        made = get_args(one)[-1] if get_origin(one) is Callable else one  # a callable is configured by what it makes
        if inspect.isclass(made) and made not in _WORDS and get_origin(one) in (None, Callable):
            return made
    return None


def is_called(hint: Any) -> bool:
    """Whether a config gives only a part of the arguments, and training the others: an optimizer's parameters."""
    return any(get_origin(one) is Callable for one in alternatives(hint))


def choices_of(base: type) -> dict[str, type]:
    """Classes by the names that a config may give, the base and its loaded subclasses; of many, ours alone."""
    found = {name: one for name, one in _subclasses(base).items() if name not in _NOT_FOR_CONFIGS}
    own = {name: one for name, one in found.items() if not _is_library(one)}
    return own if own and len(found) > MOST_CHOICES else found


def _subclasses(base: type) -> dict[str, type]:
    found, waiting = dict[str, type](), [base]
    while waiting:
        one = waiting.pop()
        waiting += one.__subclasses__()
        if not (inspect.isabstract(one) or one.__name__.startswith("_") or (one is base and _is_library(one))):
            found.setdefault(one.__name__, one)
    return dict(sorted(found.items()))


def _is_library(one: type) -> bool:
    return one.__module__.partition(".")[0] in _LIBRARIES


def find_class(name: str, base: type) -> type | None:
    """The class of that name or import path, if there is one below `base`."""
    if name in (known := _subclasses(base)):
        return known[name]
    module, _, last = name.rpartition(".")
    try:
        found = getattr(import_module(module), last) if module else None
    except (ImportError, AttributeError):
        return None
    return found if inspect.isclass(found) and issubclass(found, base) else None


@cache
def options_of(made: type, method: str = "__init__") -> dict[str, Option]:
    """Options of a class, or of one of its methods, in their order."""
    found = get_signature_parameters(made, None if method == "__init__" else method)
    return {
        one.name: Option(
            one.annotation, one.default is inspect.Parameter.empty, " ".join((one.doc or "").split()), one.default
        )
        for one in found
    }


def is_plain(made: type) -> bool:
    """Whether a class is written as its options alone, without `class_path`."""
    return dataclasses.is_dataclass(made)


def only_class(hint: Any) -> type | None:
    """The class that is meant where none is named."""
    base = base_of(hint)
    return base if base is not None and (is_plain(base) or choices_of(base) == {base.__name__: base}) else None


def fits(hint: Any, value: Any) -> bool:
    """Whether the command line would take a value, a text as typed or what YAML holds, for an option."""
    if hint in (inspect.Parameter.empty, Any):
        return True
    parser = ArgumentParser(exit_on_error=False)
    try:
        parser.add_argument("--value", type=hint)
        # jsonargparse types its namespaces in part
        parser.parse_args([f"--value={value}"]) if isinstance(value, str) else parser.parse_object({"value": value})
    except (ArgumentError, ValueError, TypeError):
        return False
    return True


def expected(hint: Any) -> str:
    """What a value may be, in words."""
    return " or ".join(dict.fromkeys(_parts(hint)))


def _parts(hint: Any) -> Iterable[str]:
    literals: list[object] = []
    for one in alternatives(hint):
        origin, inside = get_origin(one), get_args(one)
        if origin is Literal:
            literals += inside
        elif one in _WORDS:
            yield _WORDS[one]
        elif origin is tuple:
            yield f"[{', '.join(expected(part) for part in inside)}]"
        elif origin is not None and _is_list(origin):
            yield f"a list of {expected(inside[0])}" if inside else "a list"
        elif (base := base_of(one)) is not None:
            yield (
                f"one of {choices(choices_of(base))}"
                if not is_plain(base)
                else f"a mapping with {choices(options_of(base))}"
            )
        else:
            yield str(one)
    if literals:
        named = dict.fromkeys(map(str, literals))
        yield f"one of {choices(named)}" if len(named) > 1 else choices(named)


def literals_of(hint: Any) -> list[str]:
    """The texts that a hint names as choices."""
    return [str(word) for one in alternatives(hint) if get_origin(one) is Literal for word in get_args(one)]
