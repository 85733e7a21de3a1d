"""Waiting for locks in turns: who waits for a lock makes all others queue behind it, so they go first in between."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ikoma.errors import IkomaError

LOCK_TIMEOUT, DEADLOCK = "55P03", "40P01"
"""The SQLSTATEs of a lock that was not to be had."""

_PAUSES = (1, 2, 3)
"""How long the app goes on between two tries, in the time that each waited."""
_LONGEST_PAUSE = 10.0
_Gives = TypeVar("_Gives")


async def retry_while_locked(work: Callable[[], Awaitable[_Gives]], lock_timeout: float) -> _Gives:
    """Do what fails as a whole where a lock is not to be had, and do it again after a while, four times in all."""
    for pause in _PAUSES:
        try:
            return await work()
        except IkomaError as error:
            if error.details.get("sqlstate") not in (LOCK_TIMEOUT, DEADLOCK):
                raise
        await asyncio.sleep(min(pause * lock_timeout, _LONGEST_PAUSE))
    try:
        return await work()
    except IkomaError as error:
        if error.details.get("sqlstate") == LOCK_TIMEOUT:
            error.add(f"It was tried {len(_PAUSES) + 1} times, each for {lock_timeout:g} s.")
        raise
