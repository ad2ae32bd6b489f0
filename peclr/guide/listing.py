"""`peclr fit --model.help` and its like: the classes that a config may name, and the options of each."""

import inspect
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from peclr.guide.hints import (
    Option,
    base_of,
    choices_of,
    element,
    expected,
    find_class,
    is_called,
    is_plain,
    only_class,
    options_of,
)
from peclr.guide.words import Word
from peclr.options import UsageError, choices, did_you_mean

_WIDTH: Final = 110
# options whose classes are listed beside the models' and data modules' own: what people choose
_CHOSEN: Final = ("objective", "encoder", "sources", "pairing")


def wanted_help(given: Sequence[Word]) -> tuple[list[str], str | None] | None:
    """The option of which help is wanted, as names, and the class if one is named: of --model.help PretrainModule."""
    for word in given:
        *names, last = word.name.split(".")
        if names and last == "help":
            return names, word.value
    return None


def section_help(subcommand: str, names: Sequence[str], chosen: str | None, options: Mapping[str, Option]) -> str:
    """Help of an option that takes a class: the choices, or if one is chosen, its options."""
    option = _find(names, options)
    base, dotted = base_of(option.hint) if option else None, ".".join(names)
    if option is None or base is None:
        raise UsageError(f"--{dotted}.help: no option that takes a class{did_you_mean(names[0], options)}")
    known = choices_of(base)
    if only_class(base):
        chosen = base.__name__
    if chosen is None:
        return "\n\n".join(_choices(subcommand, dotted, base))
    made = base if chosen == base.__name__ else find_class(chosen, base)
    if made is None:
        raise UsageError(
            f"--{dotted}.help: no {base.__name__} {chosen!r}{did_you_mean(chosen, known)}\nthere are: {choices(known)}"
        )
    return _options(dotted, made, called=is_called(option.hint))


def _find(names: Sequence[str], options: Mapping[str, Option]) -> Option | None:
    """The option that names lead to, of whatever class has it."""
    name, *others = names
    if name not in options:
        return None
    base = base_of(options[name].hint)
    if not others or base is None:
        return None if others else options[name]
    for made in [base] if is_plain(base) else choices_of(base).values():
        if (found := _find(others, options_of(made))) is not None:
            return found
    return None


def _choices(subcommand: str, dotted: str, base: type) -> Iterator[str]:
    """Its classes with a line each; then those of their options that people choose, and how to see more."""
    yield _table(dotted, base)
    inside: dict[str, type] = {}
    for made in choices_of(base).values():
        for name, option in options_of(made).items():
            if name in _CHOSEN and (found := base_of(element(option.hint) or option.hint)) is not None:
                inside.setdefault(name, found)
    yield from (_table(f"{dotted}.{name}", one) for name, one in inside.items() if one is not base)
    example = next(iter(choices_of(base)), base.__name__)
    own = "your own has an import path, my_module.MyClass"
    yield f"`peclr {subcommand} --{dotted}.help {example}` lists the options of one; {own}"


def _table(dotted: str, base: type) -> str:
    classes = choices_of(base)
    width = max(map(len, classes), default=0)
    rows = [f"  {name:<{width}}  {_summary(made)}" for name, made in classes.items()]
    return "\n".join([f"--{dotted} NAME, or class_path and init_args in a config:", *rows])


def _options(dotted: str, made: type, *, called: bool) -> str:
    """What a class is, and its options, each with its text, what it may be and its default."""
    shown = [f"{made.__name__}: {_summary(made)}"]
    for name, option in options_of(made).items():
        if called and option.needed:  # training gives it
            continue
        default = "needed" if option.needed else f"default: {_default(option)}"
        text = f"{option.help.rstrip('.')} ({expected(option.hint)}; {default})".strip()
        lines = textwrap.wrap(text, _WIDTH - 8, break_long_words=False)
        shown.append("\n".join([f"  --{dotted}.{name}", *(f"        {line}" for line in lines)]))
    return "\n".join(shown)


def _default(option: Option) -> str:
    if inspect.isclass(option.default):
        return option.default.__name__
    if option.default is None:
        return "null"
    if isinstance(option.default, bool):
        return str(option.default).lower()
    plain = isinstance(option.default, str | int | float | list | tuple)
    return str(option.default) if plain else f"{type(option.default).__name__}'s own"


def _summary(made: type) -> str:
    """The first line of a class's docstring."""
    return (inspect.getdoc(made) or "").partition("\n")[0]
