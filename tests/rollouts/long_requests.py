"""Requests that last for seconds: a slow answer, an answer in pieces, a websocket. Each must come to its own end."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit
from urllib.request import urlopen

from tests.rollouts.live_app import LiveApp, docker, tell
from tests.support import eventually

_PATIENCE = 60.0
_WEBSOCKET = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {}\r\n"
_KEY = "dGhlIHNhbXBsZSBub25jZQ=="


class Lasting:
    """Counts so far: how many of each kind came to their end, and what happened to the others."""

    def __init__(self, url: str) -> None:
        self.tenths = 50
        """For how many tenths of a second those last that begin from now on."""
        self.whole: Counter[str] = Counter()
        self.failures: list[str] = []
        self._place = urlsplit(url)
        self._ended = threading.Event()
        kinds: tuple[tuple[str, Callable[[], bytes], bytes], ...] = (
            ("slow", lambda: self._ask("/slow", ""), b"whole\n"),
            ("pieces", lambda: self._ask("/pieces", ""), b"whole\n\r\n0\r\n\r\n"),
            ("websocket", lambda: self._ask("/socket", _WEBSOCKET.format(_KEY)), b"\x88\x00"),
        )
        self.threads = [threading.Thread(target=self._repeat, args=kind) for kind in kinds]

    def end(self) -> None:
        """Begin no more, and let those that are under way end."""
        self._ended.set()

    def _repeat(self, kind: str, ask: Callable[[], bytes], last: bytes) -> None:
        while not self._ended.is_set():
            try:
                answer = ask()
            except OSError as error:
                self.failures.append(f"{kind}: {type(error).__name__}: {error}")
                continue
            head = answer.split(b"\r\n", 1)[0]
            if head.split()[1:2] in ([b"200"], [b"101"]) and answer.endswith(last):
                self.whole[kind] += 1
            else:
                self.failures.append(f"{kind}: {head!r} … {answer[-80:]!r}")

    def _ask(self, path: str, more: str) -> bytes:
        """All that comes until the other side ends it."""
        assert self._place.hostname and self._place.port
        closing = "" if more else "Connection: close\r\n"
        request = f"GET {path}?{self.tenths} HTTP/1.1\r\nHost: {self._place.netloc}\r\n{more or closing}\r\n"
        with socket.create_connection((self._place.hostname, self._place.port), _PATIENCE) as connection:
            connection.sendall(request.encode())
            return b"".join(iter(lambda: connection.recv(1 << 16), b""))


@contextlib.contextmanager
def lasting(url: str) -> Iterator[Lasting]:
    """One of each kind under way at any time while the block runs."""
    requests = Lasting(url)
    for thread in requests.threads:
        thread.start()
    try:
        yield requests
    finally:
        requests.end()
        for thread in requests.threads:
            thread.join()


PATIENT = "x-ikoma: {drain: 4m, "
"""The beginning of the block of an app whose rollouts wait for what is held."""


class Held:
    """One request under way to the only container of an app, which answers it when it is let go."""

    def __init__(self, app: LiveApp) -> None:
        self._app = app
        [container] = app.running("web")
        self._answers: list[bytes] = []
        self._thread = threading.Thread(target=self._ask, args=(app.url.replace("version", "held"),), daemon=True)
        self._thread.start()
        eventually(lambda: docker("exec", container, "ls", "/tmp").count("asked"), "the request has arrived")

    def _ask(self, url: str) -> None:
        with urlopen(url, timeout=240) as answer:
            self._answers.append(answer.read())

    def let_go(self) -> bytes:
        """Have it answered; the answer."""
        for container in self._app.running("web"):  # a request that only reads goes to the next one when its own ends
            with contextlib.suppress(subprocess.CalledProcessError):
                tell(container)
        self._thread.join(120)
        [answer] = self._answers
        return answer
