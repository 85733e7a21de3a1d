"""Progress notifications, in order and never ahead of the answer; of those that a slow client lets wait, the last."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import Any, Self

from mcp.server.context import ServerRequestContext

from ikoma.transports.mcp.wording.marking import Wrapper

_LONGEST = 200
_MOST = 64


class Reporter:
    """A `Progress` for the block, which sends what it is told as notifications. Silent where the client wants none.

    What it says may be a line of a build: it is marked as what others wrote, by the marker of the call's answer. The
    protocol wants progress to grow with each notification; steps of unknown length grow it a little.
    """

    def __init__(self, ctx: ServerRequestContext[Any, Any], wrapper: Wrapper) -> None:
        self._ctx = ctx
        self._wrapper = wrapper
        self._wanted = (ctx.meta or {}).get("progress_token") is not None
        self._waiting: deque[tuple[str, float | None]] = deque(maxlen=_MOST)
        self._task: asyncio.Task[None] | None = None
        self._last = 0.0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._wanted = False  # an operation goes on telling
        if self._task is not None:
            with suppress(asyncio.CancelledError):
                await self._task

    def __call__(self, message: str, fraction: float | None = None) -> None:
        if self._wanted:
            self._waiting.append((self._wrapper.wrap_unless_name(message[:_LONGEST], "progress"), fraction))
            if self._task is None or self._task.done():
                self._task = asyncio.ensure_future(self._send())

    async def _send(self) -> None:
        while self._waiting:
            message, fraction = self._waiting.popleft()
            percent = None if fraction is None else fraction * 100
            total = None
            if percent is not None and percent > self._last:
                self._last, total = percent, 100.0
            else:
                self._last += 0.01
            await self._ctx.session.report_progress(round(self._last, 2), total, message)
