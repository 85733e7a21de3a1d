"""One changing call at a time on one app, across all processes that share APPS_ROOT.

A lock is an flock on a small file, so it ends with its process, also after `kill -9`. The file says who holds it.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import orjson

from ikoma.errors import AppBusy, Next
from ikoma.model import AppName

PATIENCE = 2.0
"""Seconds that a call waits for another to end, where it does not say."""
_PAUSE = 0.05


class Locks:
    """The locks of the apps under one root. Lock files stay; removing one would let two holders in."""

    def __init__(self, apps_root: Path) -> None:
        self._folder = apps_root / ".ikoma" / "locks"

    @asynccontextmanager
    async def hold(
        self, app: AppName, *, capability: str, request_id: str, patience: float = PATIENCE
    ) -> AsyncIterator[None]:
        """Hold the app's lock for the block; AppBusy, naming the holder, when it isn't free in time (seconds)."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._folder / f"{app}.lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            await self._acquire(descriptor, app, patience)
            holder = {"capability": capability, "requestId": request_id, "pid": os.getpid(), "since": _now()}
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, orjson.dumps(holder), 0)
            yield
            os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)

    async def _acquire(self, descriptor: int, app: AppName, patience: float) -> None:
        deadline = asyncio.get_running_loop().time() + patience
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if asyncio.get_running_loop().time() >= deadline:
                    raise _busy(descriptor, app) from None
            await asyncio.sleep(_PAUSE)


def _busy(descriptor: int, app: AppName) -> AppBusy:
    try:
        holder = orjson.loads(os.pread(descriptor, 4096, 0))
    except orjson.JSONDecodeError:
        return AppBusy(f"Another operation is working on {app}.")
    return AppBusy(
        f"{holder['capability']} (request {holder['requestId']}) has been working on {app} since {holder['since']}.",
        next=Next("operations.wait", {"operationId": holder["requestId"]}),
        holder=holder,
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
