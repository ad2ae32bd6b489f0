"""Files of a remote folder, http://, https://, s3:// or gs://, copied here by fsspec; again where that breaks off.

fsspec knows the stores. When to try again and what to believe is decided here: its own errors do not say which pass.
"""

import errno
import logging
import time
from argparse import ArgumentTypeError
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, Final, TypeGuard, TypeVar

from peclr.options import choices, did_you_mean
from peclr.untrusted.text import printable
from peclr.weights.fetching import BUSY, Patience

SCHEMES: Final = ("https", "http", "s3", "gs")
FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # a disk, a quota, what a file may have
_WEB: Final = ("https", "http")
_PACKAGES: Final = {"s3": "s3fs", "gs": "gcsfs"}  # for the others, the extra `remote`
_GONE: Final = (FileNotFoundError, PermissionError, IsADirectoryError)  # of any store
_SLOW_AFTER, _SLOWEST = 60.0, 10_000.0  # seconds; bytes a second, with which half a gigabyte takes 14 hours
_LONGEST_PAUSE: Final = 60.0  # seconds
_WRONG: Final = 2  # times that a whole file came with other content: it is another one

Result = TypeVar("Result")

_log = logging.getLogger(__name__)


class MissingError(ValueError):
    """A host does not have, or does not give, a file."""


class _SlowError(Exception):
    """A file comes so slowly that it would never be there."""


class _DamagedError(Exception):
    """What came may have been damaged on its way."""


class _WrongError(Exception):
    """What comes is not the file that was expected: to ask again would not help."""


def is_remote(path: object) -> TypeGuard[str]:
    """Whether a path is an address, which has a scheme; one of `Path` is none."""
    return isinstance(path, str) and "://" in path


def address_of(path: str | Path) -> str | None:
    """The path if it is an address, None if it is none; ValueError for a `Path` of one, which has lost a slash."""
    if (
        isinstance(path, Path)
        and str(path).startswith(tuple(f"{scheme}:/" for scheme in SCHEMES))
        and not path.exists()
    ):
        raise ValueError(f"{path}: expected an address as text, which a Path takes a slash from")
    return path if is_remote(path) else None


def folder_here(text: str) -> Path:
    """The path of a folder, for argparse, which refuses an address."""
    if is_remote(text):
        raise ArgumentTypeError(f"{text} is an address; expected a folder of this machine")
    return Path(text)


def place(text: str) -> str | Path:
    """An address as it is, anything else as a path: a `Path` of an address would have lost a slash."""
    return text if is_remote(text) else Path(text)


def below(folder: str | Path, name: str) -> str | Path:
    """The path or address of something in a folder."""
    return f"{folder.rstrip('/')}/{name}" if is_remote(folder) else Path(folder) / name


def check_address(address: str) -> str:
    """Return the address of a folder without the slash at its end; ValueError if files cannot be fetched from there."""
    scheme, _, rest = address.partition("://")
    if scheme not in SCHEMES:
        listed = choices(f"{known}://" for known in SCHEMES)
        raise ValueError(
            f"{address}: nothing is read from {scheme}://, only from {listed}{did_you_mean(scheme, SCHEMES)}"
        )
    if scheme in _WEB and "@" in rest.partition("/")[0]:
        raise ValueError(f"{scheme}://…@…: an address is kept in configs; a name and a password belong in ~/.netrc")
    if not rest.strip("/") or any(sign in rest for sign in "?#*"):
        raise ValueError(f"{address}: expected the address of a folder, {scheme}://HOST/FOLDER")
    return address.rstrip("/")


def fetch(
    url: str, target: Path, most_bytes: int, patience: Patience, check: Callable[[Path], str | None] | None = None
) -> None:
    """Copy a remote file to `target`; from its beginning again, with pauses that double, where that breaks off.

    Args:
        url: Of the file.
        target: Its copy, which may be there.
        most_bytes: More are not received.
        patience: With the host.
        check: What is wrong with a copy, without its name; None if nothing is.

    Raises:
        MissingError: the host has no such file or refuses it.
        ValueError: it is too long, or wrong twice.
        OSError: the host cannot be reached, or broke off every time; or the disk is full, then it names `target`.
    """
    wrong, opened = 0, _open(url, patience.timeout)

    def copy() -> None:
        nonlocal wrong
        _copy(*opened, url, target, most_bytes)
        if check is not None and (problem := check(target)) is not None:
            wrong += 1
            raise (_DamagedError if wrong < _WRONG else _WrongError)(f"{url} {problem}")

    _try(url, copy, patience)


def size_of(url: str, patience: Patience) -> int | None:
    """Bytes of a remote file, of which nothing is fetched; None where its host does not say. Errors as of `fetch`."""
    filesystem, path = _open(url, patience.timeout)
    size: int | None = _try(url, lambda: filesystem.info(path).get("size"), patience)
    return size


def _try(url: str, work: Callable[[], Result], patience: Patience) -> Result:
    """What comes of work that raises nothing; errors as of `fetch`."""
    for number in count(1):
        try:
            return work()
        except _WrongError as error:
            raise ValueError(str(error)) from None
        except Exception as error:  # each store's library has errors of its own
            reason = _reason(url, error)
            if number >= patience.tries:
                if isinstance(error, _DamagedError):
                    raise ValueError(str(error)) from None
                advice = "begin again when it answers, which goes on from what is here"
                raise ConnectionError(f"{url}: its host failed {number} times ({reason}); {advice}") from error
        pause = min(patience.pause * 2 ** (number - 1), _LONGEST_PAUSE)
        _log.warning("%s: %s; trying again in %g s", url, reason, pause)
        time.sleep(pause)
    raise AssertionError  # not reached


def _reason(url: str, error: Exception) -> str:
    """Why a host gave nothing, if that may pass; else MissingError, or the error itself for a full disk."""
    if isinstance(error, OSError) and error.errno in FULL:
        raise error
    # of HTTP, fsspec says for whatever happens that there is no file
    hides = url.startswith("http") and isinstance(error, FileNotFoundError)
    of_host = (hides and error.__cause__) or error
    reason = printable(f"{type(of_host).__name__} {of_host}".strip())
    status = getattr(of_host, "status", None) or getattr(of_host, "code", None)  # of aiohttp, of gcsfs
    if isinstance(of_host, _GONE) or (isinstance(status, int) and 400 <= status < 500 and status not in BUSY):
        raise MissingError(f"{url}: its host does not give it ({reason})") from error
    return reason


def _copy(filesystem: Any, path: str, url: str, target: Path, most_bytes: int) -> None:
    from fsspec.callbacks import Callback  # type: ignore[import-untyped]

    begun = time.monotonic()

    def check(size: int | None, value: int, **_: Any) -> None:
        waited = time.monotonic() - begun
        if waited > _SLOW_AFTER and value < _SLOWEST * waited:
            raise _SlowError(f"{value:,} bytes came in {waited:.0f} s")
        if max(size or 0, value) > most_bytes:
            raise _WrongError(f"{url}: its host has more of it than the {most_bytes:,} bytes that were expected")

    try:
        filesystem.get_file(path, str(target), callback=Callback(hooks={"most": check}))
    except OSError as error:
        if error.errno not in FULL:
            raise
        advice = "make room, or give less cache_gb or another cache_dir"
        raise OSError(error.errno, f"{error.strerror}, where {url} was copied to; {advice}", str(target)) from error


def _open(url: str, timeout: float) -> tuple[Any, str]:
    """The file system of an address, for this process, and the path in it; ValueError says what is to be installed."""
    scheme, options = url.partition("://")[0], dict[str, Any]()
    try:
        from fsspec.core import url_to_fs  # type: ignore[import-untyped]

        if scheme in _WEB:
            from aiohttp import ClientTimeout

            # without it, five minutes for a file of any size
            waiting = ClientTimeout(total=None, sock_connect=timeout, sock_read=timeout)
            # sums are of files, not of what a host has packed
            options = {
                "client_kwargs": {"timeout": waiting, "trust_env": True},
                "headers": {"Accept-Encoding": "identity"},
            }
        filesystem, path = url_to_fs(url, **options)
    except ImportError as error:
        install = f"pip install {_PACKAGES.get(scheme, repr('peclr[remote]'))}"
        raise ValueError(f"{url}: {scheme}:// needs a package that is not installed ({error}); {install}") from error
    return filesystem, str(path)
