"""The words of `fit`, `validate` and `test` before torch is imported: what can be known to be wrong by then."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from peclr.options import UsageError, choices, did_you_mean, nearest
from peclr.shipped import CONFIG_OPTIONS, shipped_configs, summary
from peclr.untrusted.text import read_yaml, yaml_lines

STARTS: Final = ("pretrain_peclr", "pretrain_photos", "finetune")  # configs to begin with
# keys of a config, which are options, too; a test compares them with the parser's
TOP_KEYS: Final = (
    "seed_everything",
    "trainer",
    "model",
    "data",
    "name",
    "run_dir",
    "checkpoint",
    "ckpt_path",
    "weights_only",
)
_ONLY_OPTIONS: Final = ("config", "print_config", "help", "help-all")
_ONLY_SCORING: Final = ("verbose",)


class Word(NamedTuple):
    """An option as given: --name=value or --name value, or --name alone."""

    name: str  # without its dashes
    value: str | None
    text: str  # as typed


class Config(NamedTuple):
    """A config's file, its content, and the line of every key in it."""

    path: Path
    content: dict[str, Any]
    lines: dict[tuple[str | int, ...], int]

    def place(self, path: Sequence[str | int]) -> str:
        """File and line of a key, or of the nearest that is written around it."""
        keys = tuple(path)
        while keys and keys not in self.lines:
            keys = keys[:-1]
        return f"{self.path}, line {self.lines[keys]}" if keys else str(self.path)


def check_words(subcommand: str, words: Sequence[str]) -> None:
    """Refuse what no run can start from: UsageError for no config, a missing one, no YAML, a misspelt first key."""
    given = list(read_words(subcommand, words))
    names = {word.name.partition(".")[0] for word in given}
    if names & {"help", "help-all"} or any(word.name.endswith(".help") for word in given):
        return
    known = (*TOP_KEYS, *_ONLY_OPTIONS, *(_ONLY_SCORING if subcommand != "fit" else ()))
    for word in given:
        first = word.name.partition(".")[0]
        if first not in known and (meant := did_you_mean(first, [f"--{key}" for key in known])):
            raise UsageError(f"no option {word.text}{meant}")
    configs = [config for _, config in read_configs(given)]
    for config in configs:
        _check_keys(config, subcommand)
        names |= config.content.keys()
    if "print_config" not in names:
        _check_whole(subcommand, configs, names)


def read_words(subcommand: str, words: Sequence[str]) -> Iterator[Word]:
    """The options among the words; UsageError for a word that belongs to none."""
    waiting = list(words)
    while waiting:
        text = waiting.pop(0)
        if not text.startswith("-"):
            if text.partition("=")[0].partition(".")[0] in TOP_KEYS:
                raise UsageError(f"{subcommand} takes options, --name=value; did you mean --{text}?")
            is_config = Path(text).suffix in {".yaml", ".yml"} or text in shipped_configs()
            hint = f"; did you mean --config {text}?" if is_config else did_you_mean(text, TOP_KEYS)
            raise UsageError(f"takes options, --name=value; {text} belongs to none{hint}")
        name, equals, value = text.partition("=")
        if not name.startswith("--") and name not in (*CONFIG_OPTIONS, "-h"):
            raise UsageError(f"no option {name}; did you mean -{name}?")
        if not equals and waiting and not waiting[0].startswith("--") and waiting[0] not in CONFIG_OPTIONS:
            value = waiting.pop(0)
            text, equals = f"{name} {value}", "="
        yield Word("config" if name in CONFIG_OPTIONS else name.lstrip("-"), value if equals else None, text)


def read_configs(given: Sequence[Word]) -> Iterator[tuple[Word, Config]]:
    """The configs that the words name, read; UsageError names file and line of what is none."""
    for word in given:
        if word.name != "config":
            continue
        if not word.value:
            raise UsageError("--config needs a name or a file\n" + _starts())
        if "://" not in word.value:
            yield word, read_config(Path(word.value))


def read_config(path: Path) -> Config:
    """A config's file, read."""
    if not path.is_file():
        there = {name: name for name in shipped_configs()} | {
            file.stem: str(file) for file in path.parent.glob("*.y*ml")
        }
        meant = nearest(path.name.removesuffix(".yaml"), there)
        missing = f"{path}: no such config" + (f"; did you mean {there[meant]}?" if meant else "")
        raise UsageError(f"{missing}\n`peclr configs` lists those that come with peclr; any other is a file")
    content = read_yaml(path)
    if not isinstance(content, dict):
        kind = "is empty" if content is None else f"is a {type(content).__name__}"
        raise UsageError(f"{path}: {kind}; expected a config, with the keys model and data")
    return Config(path, content, yaml_lines(path.read_text(encoding="utf-8-sig")))


def _check_keys(config: Config, subcommand: str) -> None:
    if {"method", "parameters"} <= config.content.keys():
        raise UsageError(f"{config.path}: is a sweep's file; `peclr sweep {config.path}` runs it")
    known = (*TOP_KEYS, *_ONLY_SCORING)
    for key in config.content:
        if key not in known:
            unknown = f"{config.place([str(key)])}: no key {key!r} in a config{did_you_mean(str(key), known)}"
            raise UsageError(f"{unknown}\nthere are: {choices(known)}")


def _check_whole(subcommand: str, configs: Sequence[Config], names: set[str]) -> None:
    if missing := [key for key in ("model", "data") if key not in names]:
        if not configs:
            raise UsageError(f"needs a config: --config NAME or FILE; to start from:\n{_starts()}")
        raise UsageError(f"{configs[-1].path}: no {' and no '.join(missing)}; a config names model and data")
    if subcommand != "fit" and "ckpt_path" not in names:
        raise UsageError("scores a checkpoint: give --ckpt_path RUN/checkpoints/last.ckpt")


def _starts() -> str:
    shipped = shipped_configs()
    rows = [f"  {name:<16} {summary(shipped[name])}" for name in STARTS]
    return "\n".join([*rows, "`peclr configs` lists all; `peclr fit --help` shows what can be changed"])
