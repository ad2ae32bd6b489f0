"""What is wrong with words and configs that the parser of `fit` refuses: where, what was meant, and the choices.

jsonargparse answers with all that it tried, in up to 70 lines. So they are read again, with the hints that it reads.
"""

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from peclr.guide.hints import (
    Option,
    base_of,
    choices_of,
    element,
    expected,
    find_class,
    fits,
    is_called,
    is_plain,
    literals_of,
    only_class,
    options_of,
)
from peclr.guide.words import Config, Word, read_config, read_configs, read_words
from peclr.options import UsageError, choices, did_you_mean, nearest, shortened
from peclr.runs.aliases import renewed
from peclr.untrusted.text import shown

_CLASS_KEYS: Final = ("class_path", "init_args", "dict_kwargs")

Keys = tuple[str | int, ...]


def diagnose(subcommand: str, words: Sequence[str], options: Mapping[str, Option], refusal: str) -> UsageError:
    """The first mistake in words and configs, by the options at the top; if none is found, what the parser said."""
    reader = _Reader(subcommand, options)
    try:
        given = [word for word in read_words(subcommand, words) if word.name != "print_config"]
        configs = dict(read_configs(given))
        for word in given:
            if word in configs:
                reader.read_config(configs[word])
            elif word.name != "config":
                reader.read_word(word)
        reader.check_needed(list(configs.values()))
    except UsageError as mistake:
        return mistake
    return UsageError(shortened(refusal))


class _Reader:
    """Goes through what is given, in its order, and remembers which class is made where: later words may go into it."""

    def __init__(self, subcommand: str, options: Mapping[str, Option]) -> None:
        self._subcommand, self._options = subcommand, options
        # by keys without class_path and init_args; trainer and checkpoint are of one class each
        self._made: dict[Keys, type] = {(name,): only for name in options if (only := only_class(options[name].hint))}
        self._given: set[Keys] = set()
        self._called: set[Keys] = set()

    def read_config(self, config: Config) -> None:
        """Look at every key and value of a config."""
        for key, value in renewed(config.content).items():
            self._enter(self._options, (str(key),), value, config)

    def read_word(self, word: Word) -> None:
        """Look at an option and its value; what leads there may leave out `init_args`."""
        if word.value is None:
            raise UsageError(f"{word.text} has no value; expected {word.text}=VALUE")
        names, options = word.name.split("."), self._options
        path: Keys = ()
        while names:
            name = names.pop(0)
            if name not in options:
                raise self._unknown(name, options, path, word.text)
            option, path = options[name], (*path, name)
            if names == ["class_path"]:
                names.clear()
            if not names:
                self._look(option, word.value, path, word)
                return
            if names[0] == "init_args":
                names.pop(0)
            made = self._made.get(path) or only_class(option.hint) or _class_by_default(option)
            if made is None and (base := base_of(option.hint)) is not None:
                first = f"--{_dotted(path)}=NAME before it, one of {choices(choices_of(base))}"
                raise UsageError(f"{word.text}: {_dotted(path)} has no class yet; give {first}")
            if made is None or names[:1] == ["dict_kwargs"]:
                return
            self._made[path] = made
            if is_called(option.hint):
                self._called.add(path)
            options = self._options_at(path)

    def check_needed(self, configs: Sequence[Config]) -> None:
        """Refuse a class of which an option that it needs is not given."""
        for path, made in self._made.items():
            for name, option in self._options_at(path).items():
                if not option.needed or (*path, name) in self._given:
                    continue
                where, base = configs[-1].place(path) if configs else f"--{_dotted(path)}", base_of(option.hint)
                which = f"--{_dotted((*path, name))}" + (f", one of {choices(choices_of(base))}" if base else "")
                about = _about(name, option)
                raise UsageError(f"{where}: {made.__name__} needs {name}; give {which}{about}")

    def _enter(self, options: Mapping[str, Option], keys: Keys, value: Any, source: Config | Word) -> None:
        name, path = str(keys[-1]), _canonical(keys)
        if name not in options:
            raise self._unknown(name, options, path[:-1], _place(source, keys))
        self._look(options[name], value, keys, source)

    def _look(self, option: Option, value: Any, keys: Keys, source: Config | Word) -> None:
        """Look at a value, and at what is in it."""
        path, base, inner = _canonical(keys), base_of(option.hint), element(option.hint)
        self._given.add(path)
        if is_called(option.hint):
            self._called.add(path)
        parsed = _parsed(value) if isinstance(source, Word) and isinstance(value, str) else value
        if isinstance(parsed, list) and inner is not None:
            for index, one in enumerate(parsed):
                self._look(Option(inner, help=option.help), one, (*keys, index), source)
        elif isinstance(parsed, dict) and base is not None:
            self._look_inside(parsed, base, keys, source)
        elif isinstance(parsed, str) and base is not None and not is_plain(base):
            self._look_at_name(parsed, option, base, keys, source)
        elif not fits(option.hint, value):
            meant = did_you_mean(str(value), literals_of(option.hint))
            what = f"{path[-1]} is {shown(value)}; expected {expected(option.hint)}{meant}"
            raise UsageError(f"{_place(source, keys)}: {what}{_about(str(path[-1]), option)}")

    def _look_at_name(self, name: str, option: Option, base: type, keys: Keys, source: Config | Word) -> None:
        """Look at a text where a class is expected: its name, a file with its options, or a word that does as well."""
        words = literals_of(option.hint)
        if Path(name).suffix in {".yaml", ".yml"} and Path(name).is_file():
            file = read_config(Path(name))
            lines = {(*keys, *inside): line for inside, line in file.lines.items()}
            self._look_inside(renewed(file.content), base, keys, file._replace(lines=lines))
        elif find_class(name, base) is not None or not fits(option.hint, name):
            self._make(name, base, keys, source, words)

    def _look_inside(self, value: dict[Any, Any], base: type, keys: Keys, source: Config | Word) -> None:
        """Look at the options of a class, written as a mapping."""
        path = _canonical(keys)
        made = self._made.get(path) or only_class(base)
        if "class_path" in value or made is None or "init_args" in value:
            for key in value:
                if key in _CLASS_KEYS:
                    continue
                where, meant = _place(source, (*keys, str(key))), did_you_mean(str(key), _CLASS_KEYS)
                if "class_path" in value or meant:
                    raise UsageError(f"{where}: no key {key!r} beside class_path{meant}")
                known = f"class_path, one of {choices(choices_of(base))}, and init_args"
                raise UsageError(f"{where}: {_dotted(path)} has no class_path; expected {known}")
            if "class_path" in value:
                made = self._make(str(value["class_path"]), base, (*keys, "class_path"), source)
            value, keys = value.get("init_args") or {}, (*keys, "init_args")
        if not isinstance(value, dict):
            raise UsageError(f"{_place(source, keys)}: init_args is {shown(value)}; expected a mapping")
        if made is None:
            return
        self._made[path] = made
        for name, one in value.items():
            self._enter(self._options_at(path), (*keys, str(name)), one, source)

    def _options_at(self, path: Keys) -> dict[str, Option]:
        """Options of the class that is made at a path; training gives the parameters to an optimizer."""
        options = options_of(self._made[path])
        return {name: one for name, one in options.items() if not (path in self._called and one.needed)}

    def _make(self, name: str, base: type, keys: Keys, source: Config | Word, words: Sequence[str] = ()) -> type:
        """Find and remember the class that is made."""
        made = find_class(name, base)
        if made is None:
            known = [*words, *choices_of(base)]
            what = f"{_place(source, keys)}: no {base.__name__} {name!r}{_meant(name, keys, base, known)}"
            raise UsageError(f"{what}\nthere are: {choices(known)}; your own by an import path, my_module.MyClass")
        self._made[_canonical(keys)] = made
        return made

    def _unknown(self, name: str, options: Mapping[str, Option], path: Keys, where: str) -> UsageError:
        """The mistake of an option that there is not."""
        made = self._made.get(path)
        owner = made.__name__ if made else _dotted(path) or f"peclr {self._subcommand}"
        what, meant = f"{where}: {owner} has no option {name}", nearest(name, options)
        elsewhere: dict[str, Keys] = {}
        for place in self._made:
            for other, option in self._options_at(place).items():
                inside = _class_by_default(option)
                elsewhere |= {one: (*place, other, one) for one in (options_of(inside) if inside else ())}
        elsewhere |= {other: (*place, other) for place in self._made for other in self._options_at(place)}
        if meant is None and (far := nearest(name, elsewhere)):
            return UsageError(f"{what}; did you mean --{_dotted(elsewhere[far])}?")
        what += f"; did you mean {meant}?" if meant else ""
        help_of = f"\n`peclr {self._subcommand} --{path[0]}.help {owner}` says what they are" if len(path) == 1 else ""
        return UsageError(f"{what}\nthere are: {choices(options)}{help_of}")


def _meant(name: str, keys: Keys, base: type, known: Sequence[str]) -> str:
    """The end of a sentence: the class of nearest name, whatever its module, or the option that takes a path."""
    if keys == ("data", "sources") and Path(name).exists():
        return f"; a path is for data.root: --data.root={name}"
    return did_you_mean(name, known) or did_you_mean(name.rpartition(".")[2], choices_of(base))


def _class_by_default(option: Option) -> type | None:
    return option.default if inspect.isclass(option.default) and is_called(option.hint) else None


def _parsed(text: str) -> Any:
    """What YAML makes of a word's value; the text itself if it makes nothing of it."""
    try:
        return renewed(yaml.safe_load(text))
    except (yaml.YAMLError, ValueError):
        return text


def _canonical(keys: Keys) -> Keys:
    return tuple(key for key in keys if key not in _CLASS_KEYS)


def _dotted(path: Keys) -> str:
    return ".".join(map(str, path))


def _place(source: Config | Word, keys: Keys) -> str:
    return source.text if isinstance(source, Word) else source.place(keys)


def _about(name: str, option: Option) -> str:
    """A line that says what the option is for, if its class does."""
    return f"\n{name}: {option.help.partition('. ')[0].rstrip('.')[:200]}" if option.help else ""
