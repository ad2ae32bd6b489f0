"""Whether a server can be reached, known within seconds."""

import contextlib
import socket
import threading
import urllib.request
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443}


def reachable(url: str, seconds: float = 3.0) -> bool:
    """Whether a connection to a server, or to the proxy that the environment names for it, comes about in time.

    Nothing is sent. A thread of its own asks, as there is no time limit on looking up a name.

    Args:
        url: "https://api.wandb.ai", for example.
        seconds: how long to wait at most.

    Raises:
        ValueError: the URL names no server.
    """
    server = urlsplit(url)
    if not server.hostname:
        raise ValueError(f"expected an URL such as https://api.wandb.ai, got {url!r}")
    proxy = None if urllib.request.proxy_bypass(server.hostname) else urllib.request.getproxies().get(server.scheme)
    asked = urlsplit(proxy if proxy and "://" in proxy else f"http://{proxy}") if proxy else server
    address = asked.hostname, asked.port or _PORTS.get(asked.scheme, 443)
    answered = threading.Event()

    def ask() -> None:
        with contextlib.suppress(OSError), socket.create_connection(address, timeout=seconds):
            answered.set()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return answered.is_set()
