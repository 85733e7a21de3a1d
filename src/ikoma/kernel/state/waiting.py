"""Waits for what another process holds for a moment: a lock of a file, a database that it writes to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

PATIENCE = 5.0
"""Seconds that a writer waits for one in another process."""
_PAUSE = 0.05


def wait_for(take: Callable[[], bool], seconds: float | None = None) -> bool:
    """Try until it is taken, or the time is over; whether it was taken. Holds its thread up.

    Args:
        take: takes what is free at this moment, and says whether it did.
        seconds: how long to try; PATIENCE where nothing is said.
    """
    deadline = time.monotonic() + (PATIENCE if seconds is None else seconds)
    while not take():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_PAUSE)
    return True


async def wait_in_turn(take: Callable[[], bool]) -> bool:
    """Like `wait_for`, but the event loop goes on meanwhile."""
    deadline = time.monotonic() + PATIENCE
    while not take():
        if time.monotonic() >= deadline:
            return False
        await asyncio.sleep(_PAUSE)
    return True


def runs_loop() -> bool:
    """Whether an event loop runs in this thread: everything else in it would wait, too."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
