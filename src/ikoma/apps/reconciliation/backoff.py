"""A queue of work for apps, in which no app waits for another's work.

One piece of work of a name runs at a time. A failed one is logged and may begin again, later each time; where only
something is away, such as the engine, it may begin again at once, and that is logged once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from ikoma.errors import AppBusy, IkomaError

log = logging.getLogger("ikoma")

_SHORTEST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
_AWAY = 503


class BackoffQueue:
    """Begins work as tasks of a group, and ends with it."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self._tasks = tasks
        self._under_way: set[str] = set()
        self._pauses: dict[str, float] = {}
        self._not_before: dict[str, float] = {}
        self._said: dict[str, str] = {}

    def begin(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Do the work now, unless it is under way already or has just failed."""
        if name not in self._under_way and time.monotonic() >= self._not_before.get(name, 0.0):
            self._under_way.add(name)
            self._tasks.create_task(self._run(name, work))

    async def _run(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except AppBusy:
            return
        except IkomaError as error:
            self._record_failure(name, error)
        except Exception:
            log.exception("%s: this should not have happened; the other apps go on", name)
            self._put_off(name)
        else:
            self._pauses.pop(name, None)
            self._said.pop(name, None)
        finally:
            self._under_way.discard(name)

    def _record_failure(self, name: str, error: IkomaError) -> None:
        if error.status != _AWAY:
            self._put_off(name)
        elif self._said.get(name) == error.message:
            return
        self._said[name] = error.message
        log.warning("%s: %s", name, error.message)

    def _put_off(self, name: str) -> None:
        pause = self._pauses[name] = min(2 * self._pauses.get(name, _SHORTEST_PAUSE / 2), _LONGEST_PAUSE)
        self._not_before[name] = time.monotonic() + pause
