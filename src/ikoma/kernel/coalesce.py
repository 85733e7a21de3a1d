"""Many who ask at once share one piece of work, and nobody gets an answer older than the question.

A caller joins work only if that work starts after the call. So each answer is fresh, and the cost does not grow with
the number of callers: a few runs are under way at most, and one is waiting. Health checks and the audit log's fsync
both stand on this.

What they make of it in the same turn of the event loop they share too: see `Turn`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar, cast

T = TypeVar("T")


class Coalesced(Generic[T]):
    """Runs `work` for all who call `get` before it starts, together.

    Args:
        gather: how many seconds a run waits at most for those whom the one before it kept company. Its answers set
            off their next questions, and the first of these would else start a run of its own.
        most: how many runs may be under way at once.
    """

    def __init__(self, work: Callable[[], Awaitable[T]], *, gather: float = 0.0, most: int = 1) -> None:
        self._work = work
        self._gather = gather
        self._slots = asyncio.Semaphore(most)
        self._waiting: asyncio.Task[T] | None = None
        self._asked = self._expected = 0
        self._complete: asyncio.Future[None] | None = None

    async def get(self) -> T:
        """The outcome of a run that started after this call."""
        if self._waiting is None:
            self._waiting = asyncio.ensure_future(self._run())
        self._asked += 1
        if self._complete is not None and self._asked >= self._expected:
            self._end_wait()
        # Shielded: one caller who goes away must not cancel the work of the others.
        return await asyncio.shield(self._waiting)

    async def _run(self) -> T:
        async with self._slots:
            if self._gather and self._asked < self._expected:
                await self._wait_for_company()
            self._waiting = None  # from here on, who asks is too late for this run
            answered, self._asked = self._asked, 0
            try:
                return await self._work()
            finally:
                # With those who came too late for it: else two groups would take turns for ever, and nobody share more.
                self._expected = answered + self._asked

    async def _wait_for_company(self) -> None:
        loop = asyncio.get_running_loop()
        self._complete = loop.create_future()
        timer = loop.call_later(self._gather, self._end_wait)
        try:
            await self._complete
        finally:
            timer.cancel()
            self._complete = None

    def _end_wait(self) -> None:
        if self._complete is not None and not self._complete.done():
            self._complete.set_result(None)


class Turn:
    """Shares what was made in one turn of the event loop, and forgets it before the next one.

    An event loop reads what has come before it runs the tasks that this has woken, and runs what was asked for first
    before that. So whoever asks in a turn asked before it, or in it, and nothing that is shared is older than that.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._made: dict[object, list[tuple[tuple[object, ...], object]]] = {}

    def share(self, what: str, of: object, more: tuple[object, ...], make: Callable[[], T]) -> T:
        """The value that was made of the very same object in this turn; else a new one.

        Args:
            what: a name for the kind of value.
            of: what it is made of, the same object and not only an equal one.
            more: what else it is made of; equals will do.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return make()
        if self._loop is not loop:
            self._made.clear()
            self._loop = loop
            loop.call_soon(self.forget)
        key, wanted = (what, id(of)), (of, more)
        others = self._made.setdefault(key, [])
        for known, value in others:
            if known == wanted:
                return cast(T, value)
        made = make()
        others.append((wanted, made))
        return made

    def forget(self) -> None:
        """Share nothing of this turn any more."""
        self._loop = None
        self._made.clear()
