"""A web server on this machine that answers as badly as those out there."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from peclr.weights.catalog import Published


@dataclass
class Page:
    """What is at every address of the server.

    Attributes:
        content: the file.
        tag: its ETag; None for a server that has none.
        ranges: whether parts are given.
        heeds: whether only of the file that is meant.
        cut: how many bytes of each of the next answers come before the connection breaks.
        statuses: of the next answers, instead of the file.
        kind: the content's type.
        has_length: whether it is said.
        redirect: to where any other address than this leads.
        pause: seconds before the content.
        seen: what was asked for: the header Range, or "".
    """

    content: bytes
    tag: str | None = '"1"'
    ranges: bool = True
    heeds: bool = True
    cut: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    kind: str = "application/octet-stream"
    has_length: bool = True
    redirect: str | None = None
    pause: float = 0.0
    seen: list[str] = field(default_factory=list)


@contextmanager
def running(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The address of a server that answers so, while it runs."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def serving(page: Page) -> Iterator[str]:
    """The address of a server, while it runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page.seen.append(self.headers.get("Range", ""))
            if page.statuses:
                self.send_error(page.statuses.pop(0))
                return
            if page.redirect and self.path != page.redirect:
                self.send_response(302)
                self.send_header("Location", page.redirect)
                self.end_headers()
                return
            start = self._start()
            if start >= len(page.content) > 0:
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(page.content) - 1}/{len(page.content)}")
            if page.tag:
                self.send_header("ETag", page.tag)
            self.send_header("Content-Type", page.kind)
            if page.has_length:
                self.send_header("Content-Length", str(len(page.content) - start))
            self.end_headers()
            time.sleep(page.pause)
            end = start + page.cut.pop(0) if page.cut else len(page.content)
            with suppress(ConnectionError):  # whoever asked may not want it
                self.wfile.write(page.content[start:end])

        def _start(self) -> int:
            asked = self.headers.get("Range", "")
            same = not page.heeds or self.headers.get("If-Range") in (None, page.tag)
            return int(asked.removeprefix("bytes=").removesuffix("-")) if asked and page.ranges and same else 0

        def log_message(self, *_: object) -> None:
            pass

    with running(Handler) as address:
        yield f"{address}/"


def described(**other: object) -> Published:
    """A published file, at nobody's address unless another is given."""
    entry = {
        "name": "net",
        "what": "a network",
        "use": "encoder",
        "license": "MIT",
        "terms": "None.",
        "homepage": "https://example.org",
        "url": "http://127.0.0.1:9/net.pth",
        "file": "net.pth",
    }
    return Published(**entry | other)  # type: ignore[arg-type]  # of a test's own making
