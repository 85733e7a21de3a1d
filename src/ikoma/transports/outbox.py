"""Lines of a call that goes on, until its client takes them: so much and no more, however slow the client is."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import orjson

_MOST = 64


class Outbox:
    """Lines on their way to one client, in order.

    Lines of the answer are waited for: their producer goes as fast as the client. Steps of the work are not, since
    it serves others too: what finds no room is left out, and the next one says how many were.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lines: deque[bytes] = deque()
        self._left_out = 0
        self._ended = False
        self._added = asyncio.Event()
        self._taken = asyncio.Event()

    async def emit(self, text: str) -> None:
        """Put a line of the answer in; waits for room."""
        while len(self._lines) >= _MOST:
            self._taken.clear()
            await self._taken.wait()
        self._add({"line": text})

    def put_progress(self, message: str, fraction: float | None = None) -> None:
        """Put a step of the work in, from any thread."""
        self._loop.call_soon_threadsafe(self._tell, message, fraction)

    def end(self) -> None:
        """Nothing more comes."""
        self._ended = True
        self._added.set()

    async def take_next(self) -> bytes | None:
        """The next line; None at the end."""
        while not self._lines:
            if self._ended:
                return None
            self._added.clear()
            await self._added.wait()
        self._taken.set()
        return self._lines.popleft()

    def _tell(self, message: str, fraction: float | None) -> None:
        if len(self._lines) >= _MOST:
            self._left_out += 1
            return
        more = {"leftOut": self._left_out} if self._left_out else {}
        self._left_out = 0
        self._add({"progress": {"message": message, "fraction": fraction, **more}})

    def _add(self, said: dict[str, Any]) -> None:
        self._lines.append(orjson.dumps(said))
        self._added.set()
