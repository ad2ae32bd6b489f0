"""What every command does with its options before it works: names and choices, user paths, outputs, YAML."""

import argparse
import difflib
import errno
import fcntl
import os
import secrets
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_NOISE = ("Given value", "Subtypes", "Does not validate", "Errors:", "Expected a <class 'NoneType'>", "Expected a path")
_MOST_LINES = 5
MOST_CHOICES = 20  # that a message lists


class UsageError(ValueError):
    """What a user can fix, in a few lines: what is wrong and where, the nearest right name, the choices."""


class CommandParser(argparse.ArgumentParser):
    """Options of one command, whose mistakes are raised as one `UsageError` with the nearest right name."""

    def __init__(self, **options: Any) -> None:
        """Take argparse's options; an epilog of several lines keeps them."""
        if "\n" in options.get("epilog", ""):
            options["formatter_class"] = argparse.RawDescriptionHelpFormatter
        super().__init__(**options)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:  # overloaded in typeshed
        """Parse; UsageError for what is no option."""
        for word in sys.argv[1:] if args is None else args:  # before argparse asks for what was meant
            if word == "--":
                break
            name = word.partition("=")[0]
            if name.startswith("--") and not any(known.startswith(name) for known in self._option_string_actions):
                self.error(f"no option {name}{did_you_mean(name, self._option_string_actions)}")
        options, unknown = self.parse_known_intermixed_args(args, namespace)  # options may stand between words
        if unknown:
            word = unknown[0].partition("=")[0]
            what = f"no option {word}" if word.startswith("-") else f"one word too many, {word}"
            self.error(f"{what}{did_you_mean(word, self._option_string_actions)}")
        return options

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            there_is = f"{value!r} is not among {choices(action.choices)}{did_you_mean(str(value), action.choices)}"
            raise argparse.ArgumentError(action, there_is)

    def error(self, message: str) -> NoReturn:
        """Raise the mistake; argparse would print the usage, however long, and exit."""
        raise UsageError(f"{message}\n`{self.prog} --help` lists what there is")


def shortened(refusal: str) -> str:
    """What a parser of jsonargparse said, without what it tried and was given: at most 5 lines."""
    lines = [line.strip(" -")[:200] for line in refusal.splitlines()]
    return "\n".join([line for line in lines if line and not line.startswith(_NOISE)][:_MOST_LINES])


def nearest(word: str, names: Iterable[str]) -> str | None:
    """The name that was most likely meant, whatever its case; None if none is near."""
    by_lower = {str(name).lower(): str(name) for name in names}
    found = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """The end of a sentence that names the nearest of `names`; empty if none is near."""
    found = nearest(word, names)
    return "" if found is None else f"; did you mean {found}?"


def choices(names: Iterable[object]) -> str:
    """Names, with commas between them; only their number if there are many."""
    listed = [str(name) for name in names]
    return ", ".join(listed) if len(listed) <= MOST_CHOICES else f"{len(listed)} names"


def expand_words(words: Sequence[str]) -> list[str]:
    """Words of a command line with ~ expanded, also where a shell leaves it: in --option=~/folder."""
    split = [word.partition("=") if word.startswith("-") else ("", "", word) for word in words]
    return [name + equals + _expanded(value) for name, equals, value in split]


def expand_values(value: Any) -> Any:
    """A parsed config whose strings and paths have ~ expanded, in place; nothing but a path starts with one."""
    if isinstance(value, str | Path):
        return type(value)(_expanded(str(value)))
    if isinstance(value, list):
        return [expand_values(one) for one in value]
    if isinstance(value, dict | argparse.Namespace):
        inside = value if isinstance(value, dict) else vars(value)
        inside.update({key: expand_values(one) for key, one in inside.items()})
    return value


def _expanded(path: str) -> str:
    return os.path.expanduser(path)  # noqa: PTH111 (pathlib's fails where there is no such user, and changes other text)


def positive(text: str) -> int:
    """A positive whole number, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return number


def check_new(path: Path | str) -> Path:
    """Return a path; FileExistsError if there is such a file already."""
    path = Path(path)
    if path.exists():
        raise FileExistsError(f"{path} exists already; give another path or remove it")
    return path


def check_new_folder(folder: Path) -> None:
    """Refuse an output folder that is not empty or could not be written, while nothing has been computed."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} is not an empty folder; choose another")
    check_writable(folder)


def check_writable(folder: Path) -> None:
    """Refuse a folder, there already or not, in which no file can be made; leaves nothing behind."""
    there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise OSError(error.errno, f"cannot be written to: {error.strerror}", str(folder)) from error


def usable_cores() -> int:
    """Cores that this process may use; macOS has no affinity."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name the file in errors of writing it: on a full disk the system does not, and NumPy not even the error."""
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        reason = error.strerror or f"could not be written whole, the disk may be full ({error})"
        raise OSError(error.errno or errno.EIO, reason, str(path)) from error


@contextmanager
def writing_whole(path: Path, *, shared: bool = False) -> Iterator[BinaryIO]:
    """Give a file to write, which is there whole at the end, or not at all; as `write_whole`."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial" if shared else f".{path.name}.partial")
    try:
        with naming(path):
            partial.unlink(missing_ok=True)  # it may be a link: a run's folder can be a stranger's
            with partial.open("xb") as file:
                yield file
            partial.replace(path)
    except BaseException as error:  # Ctrl-C, too
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def write_whole(path: Path, content: bytes | str, *, shared: bool = False) -> None:
    """Write a file (text as UTF-8) whole or not at all, never through a link; OSError names it, on a full disk too.

    A file that is `shared` may be written by others at the same moment: the last one's stays.
    """
    with writing_whole(path, shared=shared) as file:
        file.write(content.encode(errors="backslashreplace") if isinstance(content, str) else content)


def array_on_disk(path: Path, kind: "type[np.generic]", shape: tuple[int, ...]) -> "NDArray[Any]":
    """Map a new .npy file to write; OSError names it where the disk has no room for all of it."""
    import numpy as np

    array: NDArray[Any] = np.lib.format.open_memmap(path, "w+", kind, shape)
    if hasattr(os, "posix_fallocate"):  # a full disk would end the process by a signal when pages are written
        with naming(path), path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def open_lock(path: Path) -> int:
    """Open a lock's file to write, as it is or new, never through a link; its descriptor."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise ValueError(f"{path} is a link; expected a file of its own") from error


@contextmanager
def locked(path: Path, notice: str | None = None) -> Iterator[None]:
    """Keep other processes out that lock the same file; not on file systems without locks.

    This waits for one that is at work, with a `notice` on stderr if there is one.
    """
    descriptor = open_lock(path)
    try:
        with suppress(OSError):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if notice:
                    print(notice, file=sys.stderr, flush=True)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        with suppress(OSError):  # a process that was forked meanwhile has it open, too
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


@contextmanager
def own_errors(parser: Any) -> Iterator[None]:
    """Raise a constructor's error as it is: jsonargparse, whose `parser` constructs inside, buries it among others."""
    raised: list[Exception] = []

    def construct(made: type, *args: Any, **kwargs: Any) -> Any:
        try:
            return made(*args, **kwargs)
        except Exception as error:
            raised.append(error)
            raise

    parser.add_instantiator(construct, object)
    try:
        yield
    except ValueError as error:
        raise (raised or [error])[-1] from None
