"""What a run is called where it is compared with others: by its user, or by its config and what was changed of it."""

import re
from collections.abc import Iterator, Sequence
from itertools import chain, count, pairwise
from pathlib import Path
from typing import Final

from peclr.runs.layout import CONFIG, last_checkpoint, read_run_config, run_folder

# settings that make runs differ, beside those of model and data and the seed …
_SETTINGS: Final = ("accumulate_grad_batches", "limit_train_batches", "max_epochs", "max_steps", "overfit_batches")
# … and those of model and data that do not
_PLACES: Final = ("root", "num_workers")
# in names, of files too: of one character, and whole
_STRANGE: Final = re.compile(r"[^\w .,=+()-]+")
_USABLE: Final = re.compile(r"\w[\w .,=+()-]{0,99}")
_LONGEST: Final = 90
_LONGEST_VALUE: Final = 40


def check_name(name: str) -> str:
    """Return a name that a folder may have; ValueError for any other."""
    if not _USABLE.fullmatch(name):
        wanted = "expected at most 100 letters, digits, spaces and any of . , _ = + - ( ), a letter or digit first"
        raise ValueError(f"name {name!r}: {wanted}")
    return name


def said_name(run: Path) -> str | None:
    """The name in a run's config; older runs, and those in folders that their users have named, have none."""
    name = read_run_config(last_checkpoint(run)).get("name")
    return name if isinstance(name, str) and _USABLE.fullmatch(name) else None


def run_name(run: Path) -> str:
    """The name in a run's config, or else that of its folder."""
    return said_name(run) or run.resolve().name


def name_by_settings(config: str, words: Sequence[str], run: Path) -> str:
    """A config's name and the settings that a command line changes: "pretrain_peclr temperature=0.1 seed=3".

    Where a run beside this one has the name, a number is added.
    """
    changed = dict(_changed(words))
    kept = [part for part in _STRANGE.sub("_", config).split(" ") if part.partition("=")[0] not in changed]
    parts = [*kept, *(f"{name}={value}" for name, value in changed.items())]
    name = " ".join(parts)[:_LONGEST].strip(" .,=+()-") or "run"
    others = (path.read_text("utf-8", "replace") for path in run.parent.glob(f"*/{CONFIG}") if path.parent != run)
    taken = {line[6:].strip("'\"") for text in others for line in text.splitlines() if line.startswith("name: ")}
    return next(free for free in chain((name,), (f"{name}+{number}" for number in count(2))) if free not in taken)


def _changed(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Short names and values of the options that decide what is learned."""
    for word, following in pairwise([*words, ""]):
        option, equals, value = word.partition("=")
        section, *rest = [part for part in option[2:].split(".") if part not in ("init_args", "class_path")]
        value = value if equals else following
        if not option.startswith("--"):
            continue
        if section == "seed_everything":
            yield "seed", value
        elif rest:
            name = rest[-2] if rest[-1] == "name" and len(rest) > 1 else rest[-1]  # of an encoder, say
            if name in _SETTINGS if section == "trainer" else section in ("model", "data") and name not in _PLACES:
                yield name, _short(value)


def _short(value: str) -> str:
    """A value for a name: a class without its module, the end of a path, of a checkpoint its run's name."""
    if found := re.search(r"class_path\W+([\w.]+)", value):
        value = found[1].rpartition(".")[2]
    elif "/" in value:
        path = Path(value)
        run = run_folder(path / "any" if path.is_dir() else path)
        value = path.stem if run is None else run_name(run)
    return re.sub(r"[^\w.,+()=-]+", "_", value).strip("_")[:_LONGEST_VALUE]
