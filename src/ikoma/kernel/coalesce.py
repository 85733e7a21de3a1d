"""Many who ask at once share one piece of work, and nobody gets an answer older than the question.

A caller joins work only if that work starts after the call. So each answer is fresh, and the cost does not grow with
the number of callers: a few runs are under way at most, and one is waiting. Health checks and the audit log's fsync
both stand on this.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Coalesced(Generic[T]):
    """Runs `work` for all who call `get` before it starts, together.

    Args:
        gather: seconds to wait for company before a run; the answers of one run set off the next questions, and
            without this pause the first of them would start a run of its own.
        most: how many runs may be under way at once.
    """

    def __init__(self, work: Callable[[], Awaitable[T]], *, gather: float = 0.0, most: int = 1) -> None:
        self._work = work
        self._gather = gather
        self._slots = asyncio.Semaphore(most)
        self._waiting: asyncio.Task[T] | None = None

    async def get(self) -> T:
        """The outcome of a run that started after this call."""
        if self._waiting is None:
            self._waiting = asyncio.ensure_future(self._run())
        # Shielded: one caller who goes away must not cancel the work of the others.
        return await asyncio.shield(self._waiting)

    async def _run(self) -> T:
        async with self._slots:
            if self._gather:
                await asyncio.sleep(self._gather)
            self._waiting = None  # from here on, who asks is too late for this run
            return await self._work()
