"""One changing call at a time on one app, across all processes that share APPS_ROOT.

A lock is an flock on a small file, so it ends with its process, also after `kill -9`. The file says which operation
holds it. What IKOMA does by itself is in nobody's way: a caller's call waits for its end, however long that takes.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import orjson

from ikoma.errors import AppBusy, Next
from ikoma.model import AppName
from ikoma.moments import format_moment
from ikoma.ports.progress import Progress, ignore_progress

PATIENCE = 2.0
"""Seconds that a call waits for another to end, where it does not say."""
_PAUSE = 0.05
_QUIET_SECONDS = 1.0
"""Waiting is told of after this: what is over before is no news."""


@dataclass(frozen=True, slots=True)
class Holder:
    """The operation that works on an app; `own` where nobody called for it, but IKOMA itself."""

    capability: str
    operation: str
    own: bool = False
    since: str = field(default_factory=lambda: _format_now())


class Locks:
    """The locks of the apps under one root. Lock files stay; removing one would let two holders in."""

    def __init__(self, apps_root: Path) -> None:
        self._folder = apps_root / ".ikoma" / "locks"

    @asynccontextmanager
    async def hold(
        self, app: AppName, holder: Holder, *, patience: float = PATIENCE, progress: Progress = ignore_progress
    ) -> AsyncIterator[None]:
        """Hold the app's lock for the block; AppBusy, naming the operation, when it isn't free in time.

        Args:
            patience: seconds to wait for another caller's call. What IKOMA does by itself is waited for to its end,
                unless this is 0.
            progress: told what is waited for.
        """
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._folder / f"{app}.lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            await self._acquire(descriptor, app, patience, progress)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, orjson.dumps(asdict(holder)), 0)
            yield
            os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)

    async def _acquire(self, descriptor: int, app: AppName, patience: float, progress: Progress) -> None:
        now = asyncio.get_running_loop().time
        began, deadline, told = now(), now() + patience, None
        while not _is_taken(descriptor):
            holder = _read(descriptor)
            if holder is not None and holder.own and patience:
                deadline = now() + patience
            if now() >= deadline:
                raise _describe_busy(holder, app)
            if holder is not None and holder.operation != told and now() - began >= _QUIET_SECONDS:
                told = holder.operation
                whose = ", which IKOMA does by itself" if holder.own else ""
                progress(f"waiting for {holder.capability} to end (operation {told}){whose}")
            await asyncio.sleep(_PAUSE)


def _is_taken(descriptor: int) -> bool:
    """Take the lock, where it is free."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(descriptor: int) -> Holder | None:
    """The holder of the lock; None in the moment before that is written."""
    try:
        return Holder(**orjson.loads(os.pread(descriptor, 4096, 0)))
    except (orjson.JSONDecodeError, TypeError):  # or another version has written it
        return None


def _describe_busy(holder: Holder | None, app: AppName) -> AppBusy:
    if holder is None:
        return AppBusy(f"Another operation is working on {app}.")
    return AppBusy(
        f"{holder.capability} (operation {holder.operation}) has been working on {app} since {holder.since}.",
        hint=f'Wait until it has ended (operations.wait {{"operationId": "{holder.operation}"}}), then try again.',
        next=[Next("operations.wait", {"operationId": holder.operation})],
        operationId=holder.operation,
        capability=holder.capability,
        since=holder.since,
    )


def _format_now() -> str:
    return format_moment(datetime.now(UTC))
