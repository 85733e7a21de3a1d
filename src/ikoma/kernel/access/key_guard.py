"""The guard of long work: it ends with the key that it was asked for with. Revoked is revoked, on open streams too."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType

from ikoma.errors import Unauthenticated

_EVERY_SECONDS = 1.0


class KeyGuard:
    """Cancels the task inside it within a second of the end of its key, and raises Unauthenticated in its place.

    A timer and no task: this is around every read, and nearly all of them end before it looks for the first time.

    Args:
        prove: raises Unauthenticated once the key is not valid any more.
    """

    def __init__(self, prove: Callable[[], object]) -> None:
        self._prove = prove
        self._refusal: Unauthenticated | None = None

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._plan_check()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if self._refusal is not None and self._task.uncancel() == 0 and kind is asyncio.CancelledError:
            raise self._refusal from error

    def _plan_check(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_EVERY_SECONDS, self._check)

    def _check(self) -> None:
        try:
            self._prove()
        except Unauthenticated as refusal:
            self._refusal = refusal
            self._task.cancel()
        else:
            self._plan_check()
