"""Progress notifications, in order and never ahead of the answer."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Self

from mcp.server.context import ServerRequestContext

_LONGEST = 200


class Reporter:
    """A `Progress` for the block, which sends what it is told as notifications. Silent where the client wants none.

    The protocol wants progress to grow with each notification; steps of unknown length grow it a little.
    """

    def __init__(self, ctx: ServerRequestContext[Any, Any]) -> None:
        self._ctx = ctx
        self._task: asyncio.Task[None] | None = None
        self._last = 0.0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._queue.put_nowait(None)
            with suppress(asyncio.CancelledError):
                await self._task

    def __call__(self, message: str, fraction: float | None = None) -> None:
        if self._task is None:
            if (self._ctx.meta or {}).get("progress_token") is None:
                return
            self._queue: asyncio.Queue[tuple[str, float | None] | None] = asyncio.Queue()
            self._task = asyncio.ensure_future(self._send())
        self._queue.put_nowait((message[:_LONGEST], fraction))

    async def _send(self) -> None:
        while (said := await self._queue.get()) is not None:
            message, fraction = said
            percent = None if fraction is None else fraction * 100
            total = None
            if percent is not None and percent > self._last:
                self._last, total = percent, 100.0
            else:
                self._last += 0.01
            await self._ctx.session.report_progress(round(self._last, 2), total, message)
