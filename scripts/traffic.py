"""Requests at a steady rate over kept connections, as a browser or a load balancer sends them; none is ever repeated.

A request has failed when it was not answered whole with 200: also when its connection was closed just as it was sent,
which clients that repeat requests by themselves would hide.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

__all__ = ["Traffic", "steady"]


@dataclass
class Traffic:
    """Counts of the requests so far."""

    url: str
    answers: Counter[str] = field(default_factory=Counter)
    """How often each body was the answer."""
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0
    """Seconds that the slowest answer took."""
    _ended: threading.Event = field(default_factory=threading.Event)

    @property
    def count(self) -> int:
        return sum(self.answers.values()) + len(self.failures)

    async def run(self, *, clients: int, rate: float) -> None:
        await asyncio.gather(*(self._client(clients / rate, number / rate) for number in range(clients)))

    async def _client(self, pause: float, delay: float) -> None:
        parts = urlsplit(self.url)
        request = f"GET {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()
        connection = None
        next_at = time.monotonic() + delay
        while not self._ended.is_set():
            await asyncio.sleep(max(0.0, next_at - time.monotonic()))
            next_at = max(next_at + pause, time.monotonic())
            began = time.monotonic()
            try:
                if connection is None:
                    connection = await asyncio.open_connection(parts.hostname, parts.port)
                closes = await self._ask(*connection, request)
            except (OSError, asyncio.IncompleteReadError) as error:
                self.failures.append(f"{type(error).__name__}: {error}")
                closes = True
            self.slowest = max(self.slowest, time.monotonic() - began)
            if closes and connection is not None:
                connection[1].close()
                connection = None
        if connection is not None:
            connection[1].close()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> bool:
        """Send a request and note the answer; whether the server closes the connection after it."""
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        body = await reader.readexactly(int(fields["content-length"]))
        if head.split()[1] == "200":
            self.answers[body.decode().strip()] += 1
        else:
            self.failures.append(f"{head.splitlines()[0]}: {body[:200]!r}")
        return fields.get("connection") == "close"


@contextlib.contextmanager
def steady(url: str, *, rate: float = 200, clients: int = 10) -> Iterator[Traffic]:
    """Requests to a URL while the block runs."""
    traffic = Traffic(url)
    thread = threading.Thread(target=lambda: asyncio.run(traffic.run(clients=clients, rate=rate)))
    thread.start()
    try:
        yield traffic
    finally:
        traffic._ended.set()
        thread.join()
