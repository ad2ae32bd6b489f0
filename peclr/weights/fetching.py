"""One file over HTTP: a cut download goes on where it ended, if the server still has the same file."""

import errno
import json
import shutil
import sys
import time
from dataclasses import asdict, dataclass
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO, Final
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from peclr import __version__
from peclr.options import naming, write_whole
from peclr.untrusted.text import as_type, check_size, printable, read_json

_PIECE: Final = 1 << 18  # bytes
BUSY: Final = (408, 425, 429, 500, 502, 503, 504)  # a server that may answer otherwise in a while
_PARTIAL_CONTENT: Final = 206
_NO_SUCH_RANGE: Final = 416


@dataclass(frozen=True)
class Patience:
    """How long to wait for a server, and how often to try again before it is given up."""

    timeout: float = 30.0  # seconds without a byte
    tries: int = 5  # that bring nothing more
    pause: float = 1.0  # seconds before the second; it doubles


@dataclass(frozen=True)
class _Begun:
    """What is known of a download that has begun; kept beside what there is of it."""

    url: str
    validator: str | None = None  # by which the server knows the same file again
    total: int | None = None  # bytes


def download(url: str, target: Path, most_mb: float, patience: Patience) -> None:
    """Download a file to `target`, going on from what is there of it, with a bar on stderr.

    Raises:
        ValueError: the host has no such file, or answers with a web page or with more than `most_mb`.
        OSError: it cannot be reached, or broke off too often: what was received stays. Or the disk is full.
    """
    failures, reached = 0, False
    while True:
        before = _size(target)
        try:
            return _receive(url, target, most_mb, patience.timeout)
        except HTTPError as error:
            reason = f"answers {error.code} {printable(str(error.reason))}"
            if error.code not in BUSY:
                raise ValueError(f"{url}: its host {reason}") from error
        except (TimeoutError, ConnectionError, HTTPException) as error:
            reason = f"broke off: {printable(str(error) or type(error).__name__)}"
        except URLError as error:
            reason = f"cannot be reached: {printable(str(error.reason))}"
            if not reached:
                raise ConnectionError(f"{url}: its host {reason}") from error
        reached = True
        failures = 1 if _size(target) > before else failures + 1
        if failures >= patience.tries:
            kept = f"; {_size(target) / 1e6:,.1f} MB are kept, from which the same command goes on"
            raise ConnectionError(f"{url}: its host {reason}{kept if _size(target) else ''}")
        print(f"its host {reason}; trying again", file=sys.stderr)
        time.sleep(patience.pause * 2 ** (failures - 1))


def forget(target: Path) -> None:
    """Remove what there is of a download."""
    target.unlink(missing_ok=True)
    _beside(target).unlink(missing_ok=True)


def _receive(url: str, target: Path, most_mb: float, timeout: float) -> None:
    """One request; what it brings is added to `target`, or replaces it where the file is another now."""
    begun, there = _read_begun(url, target), _size(target)
    if there and there == begun.total:
        return
    answer, start = _ask(begun, there, timeout)
    with answer:
        if answer.headers.get_content_type() == "text/html":
            raise ValueError(f"{url}: its host answers with a web page, not with the file; open it in a browser")
        length = answer.headers.get("Content-Length", "")
        total = start + int(length) if length.isdecimal() and not answer.chunked else None
        if start == 0:
            forget(target)  # before it is known by another validator
            if there:
                print("from the beginning: the host has another file now, or gives no parts of one", file=sys.stderr)
        write_whole(_beside(target), json.dumps(asdict(_Begun(url, _validator(answer.headers), total))))
        _check_room(target, (total or 0) - start, most_mb)
        received = _write(answer, target, start, total, most_mb)
    if total is not None and received != total:
        raise ConnectionError(f"{received:,} of {total:,} bytes came")


def _write(answer: HTTPResponse, target: Path, start: int, total: int | None, most_mb: float) -> int:
    """Append an answer's content to `target`; its size then."""
    from tqdm import tqdm

    every = 0.2 if sys.stderr.isatty() else 10.0  # a file or a pipe gets a line now and then
    bar = tqdm(total=total, initial=start, unit="B", unit_scale=True, mininterval=every, maxinterval=every)
    with bar, target.open("ab") as file:
        while piece := answer.read1(_PIECE):
            with naming(target):
                file.write(piece)
            bar.update(len(piece))
            check_size(file.tell(), target, most_mb)
        with naming(target):
            file.flush()
        return file.tell()


def _check_room(target: Path, needed: int, most_mb: float) -> None:
    check_size(needed, target, most_mb)
    free = shutil.disk_usage(target.parent).free
    if needed > free:
        reason = f"{needed / 1e6:,.0f} MB are needed, {free / 1e6:,.0f} MB are free"
        raise OSError(errno.ENOSPC, reason, str(target.parent))


def _ask(begun: _Begun, there: int, timeout: float) -> tuple[HTTPResponse, int]:
    """The host's answer, and from which byte of the file on it is."""
    if there and begun.validator:
        try:
            answer = _open(begun.url, timeout, {"Range": f"bytes={there}-", "If-Range": begun.validator})
        except HTTPError as error:
            if error.code != _NO_SUCH_RANGE:
                raise
        else:
            if answer.status != _PARTIAL_CONTENT:
                return answer, 0
            goes_on = answer.headers.get("Content-Range", "").startswith(f"bytes {there}-")
            if goes_on and _validator(answer.headers) in (begun.validator, None):
                return answer, there
            answer.close()
    return _open(begun.url, timeout, {}), 0


def _open(url: str, timeout: float, headers: dict[str, str]) -> HTTPResponse:
    ours = {"User-Agent": f"peclr/{__version__}", "Accept-Encoding": "identity"}
    answer: HTTPResponse = build_opener(_Redirects()).open(Request(url, headers=ours | headers), timeout=timeout)  # noqa: S310  # of the list
    return answer


class _Redirects(HTTPRedirectHandler):
    """Follows a host to another, but never from a protected connection to an open one."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise HTTPError(newurl, code, "redirects to a connection without protection", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _validator(headers: HTTPMessage) -> str | None:
    """What names this state of the file: a strong ETag, or else when it was changed."""
    tag: str | None = headers.get("ETag")
    changed: str | None = headers.get("Last-Modified")
    return tag if tag and not tag.startswith("W/") else changed


def _beside(target: Path) -> Path:
    return target.with_name(f"{target.name}.json")


def _read_begun(url: str, target: Path) -> _Begun:
    """What is known of the download to `target`, if it was of this address and whoever wrote it could end."""
    try:
        begun = as_type(read_json(_beside(target)), _Begun, _beside(target))
    except (FileNotFoundError, ValueError):
        begun = None
    return begun if begun and begun.url == url else _Begun(url)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
