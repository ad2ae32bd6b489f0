"""A web server on this machine that has a folder, without listing it or giving parts, and fails as it is asked to."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Final

from tests.weights.server import running

PIECE: Final = 2048  # bytes that are sent at once


@dataclass
class Served:
    """What a server has, and how it fails.

    Attributes:
        root: its folder.
        address: of it.
        statuses: of the next answers for a file, by its name, instead of it.
        cut: of the next answers for a file, how many bytes come before the connection breaks.
        says_length: whether the length of a file is said, so that one that is cut is known to be.
        pause: seconds before each answer.
        piece_pause: seconds after each piece.
        asked: how often a file was asked for, by its name.
    """

    root: Path
    address: str = ""
    statuses: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    cut: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    says_length: bool = True
    pause: float = 0.0
    piece_pause: float = 0.0
    asked: Counter[str] = field(default_factory=Counter)


class _Handler(BaseHTTPRequestHandler):
    """Answers for a folder."""

    served: Served

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        served = self.served
        path = served.root / self.path.lstrip("/")
        served.asked[path.name] += body
        time.sleep(served.pause)
        if served.statuses[path.name]:
            self.send_error(served.statuses[path.name].pop(0))
        elif not path.is_file():
            self.send_error(404)
        else:
            content = path.read_bytes()
            self.send_response(200)
            if served.says_length:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self._send(content[: served.cut[path.name].pop(0)] if served.cut[path.name] else content, served)

    def _send(self, content: bytes, served: Served) -> None:
        with suppress(ConnectionError):  # whoever asked may not want it
            for start in range(0, len(content), PIECE):
                self.wfile.write(content[start : start + PIECE])
                time.sleep(served.piece_pause)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving_folder(root: Path) -> Iterator[Served]:
    """Serve a folder."""

    class Handler(_Handler):
        served = Served(root)

    with running(Handler) as Handler.served.address:
        yield Handler.served
