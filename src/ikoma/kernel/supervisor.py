"""The supervisor of background work: nothing that the server does by itself ends unseen.

Work is started by name. One that fails is logged with its cause and started again, later each time; one that returns
is done. What waits to be started again is told by `failing`, for platform.check; so is what runs again, until it has
run for as long as it had to wait.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from math import inf
from types import TracebackType
from typing import Self

log = logging.getLogger("ikoma")

_SHORTEST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
_STEADY_SECONDS = 300.0
"""Work that went on for so long before it failed begins with the shortest pause again."""

Work = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Failure:
    kind: str
    until: float
    """The moment, of the monotonic clock, from which the work counts as well again."""


class Supervisor:
    """Runs background work inside its block, and ends all of it, waiting for each, at the block's end."""

    def __init__(self, *, pause: float = _SHORTEST_PAUSE) -> None:
        """
        Args:
            pause: seconds before work that failed once is started again; doubled with each failure after it.
        """
        self._pause = pause
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._failures: dict[str, _Failure] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def start(self, name: str, work: Work) -> None:
        """Start work under a name of its own; ValueError where the name is taken."""
        if name in self._tasks:
            raise ValueError(f"{name} was started already")
        self._tasks[name] = asyncio.create_task(self._keep_running(name, work), name=name)

    @property
    def failing(self) -> Mapping[str, str]:
        """Name of work that failed → kind of failure; empty where all is well."""
        now = time.monotonic()
        return {name: failure.kind for name, failure in self._failures.items() if now < failure.until}

    async def _keep_running(self, name: str, work: Work) -> None:
        pause = self._pause
        while True:
            began = time.monotonic()
            try:
                await work()
            except Exception as error:
                if time.monotonic() - began > _STEADY_SECONDS:
                    pause = self._pause
                kind = type(error).__name__
                self._failures[name] = _Failure(kind, inf)
                log.exception("%s failed; it is started again in %g s", name, pause)
            else:
                self._failures.pop(name, None)
                return
            await asyncio.sleep(pause)
            self._failures[name] = _Failure(kind, time.monotonic() + pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
