"""Many who ask at once share one piece of work, and nobody gets an answer older than the question.

A caller joins work only if that work starts after the call. So under any load at most one run is under way and
one is waiting, each answer is fresh, and the cost does not grow with the number of callers. Health checks and
the audit log's fsync both stand on this.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Coalesced(Generic[T]):
    """Runs `work` for all who call `get` while an earlier run is under way, together."""

    def __init__(self, work: Callable[[], Awaitable[T]]) -> None:
        self._work = work
        self._running: asyncio.Task[T] | None = None
        self._waiting: asyncio.Task[T] | None = None

    async def get(self) -> T:
        """The outcome of a run that started after this call."""
        if self._running is None or self._running.done():
            self._running = asyncio.ensure_future(self._work())
            return await self._join(self._running)
        if self._waiting is None:
            self._waiting = asyncio.ensure_future(self._after(self._running))
        return await self._join(self._waiting)

    async def _after(self, earlier: asyncio.Task[T]) -> T:
        await asyncio.wait([earlier])
        self._running, self._waiting = asyncio.current_task(), None
        return await self._work()

    async def _join(self, task: asyncio.Task[T]) -> T:
        # Shielded: one caller who goes away must not cancel the work of the others.
        return await asyncio.shield(task)
