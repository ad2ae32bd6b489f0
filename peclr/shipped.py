"""The configs that come with the package: found by name from any folder, listed and copied by `peclr configs`."""

from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from peclr.options import CommandParser, UsageError, did_you_mean, naming

_PACKAGE = Path(__file__).parent
_CLONE = _PACKAGE.parent / "experiments"  # their home; the build packs them into the wheel
CONFIG_OPTIONS = ("--config", "-c")


def shipped_configs() -> dict[str, Path]:
    """Configs and sweeps by name: the path in `experiments/` without its suffix."""
    folder = _CLONE if _CLONE.is_dir() else _PACKAGE / "configs"
    found = sorted(folder.rglob("*.yaml"), key=lambda path: (len(path.parts), path))  # those to start with first
    named = {path.relative_to(folder).with_suffix("").as_posix(): path for path in found}
    return {name: path for name, path in named.items() if "/suite" not in name}  # for code in experiments


def find_config(word: str) -> Path:
    """The file of that path, or else the shipped config of that name, with or without `experiments/` and `.yaml`."""
    if Path(word).is_file():
        return Path(word)
    return shipped_configs().get(word.removeprefix("experiments/").removesuffix(".yaml"), Path(word))


def find_configs(words: Sequence[str]) -> list[str]:
    """Words of a command line whose `--config` names files, where they named shipped configs."""
    found: list[str] = []
    for word in words:
        option, equals, value = word.partition("=")
        if equals and option in CONFIG_OPTIONS:
            word = f"{option}={find_config(value)}"
        elif found and found[-1] in CONFIG_OPTIONS:
            word = str(find_config(word))
        found.append(word)
    return found


def configs_main(arguments: Sequence[str]) -> int:
    """List the shipped configs, or show or copy one: `peclr configs`."""
    description = "List the configs that come with peclr, print one, or copy it out for editing."
    epilog = "`peclr fit --config NAME` and `peclr sweep NAME` find them by name."
    parser = CommandParser(prog="peclr configs", description=description, epilog=epilog)
    parser.add_argument("name", nargs="?", help="one of those listed without it")
    parser.add_argument("--out", type=Path, metavar="FILE", help="a new file for the copy")
    options = parser.parse_args(arguments)
    configs = shipped_configs()
    if options.name is None:
        if options.out is not None:
            parser.error("--out is for a copy of one config: give its name")
        width = max(map(len, configs))
        print("\n".join(f"{name:{width}}  {summary(path)}" for name, path in configs.items()))
        return 0
    path = find_config(options.name)
    if path not in configs.values():
        meant = did_you_mean(options.name, configs)
        raise UsageError(f"no config {options.name!r} comes with peclr{meant}\n`peclr configs` lists those that do")
    text = path.read_text(encoding="utf-8")
    if options.out is None:
        print(text, end="")
        return 0
    with naming(options.out), options.out.open("x", encoding="utf-8") as copy:
        copy.write(text)
    return 0


def summary(path: Path) -> str:
    """The first sentence of a config's opening comment."""
    comment = takewhile(lambda line: line.startswith("#"), path.read_text(encoding="utf-8").splitlines())
    return " ".join(line.removeprefix("# ") for line in comment).partition(". ")[0].rstrip(".")
