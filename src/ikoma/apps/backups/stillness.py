"""Whether anybody could write to a volume while it was read, and how its writers are held still meanwhile.

Which replicas are held is in `.ikoma/held.json` before the first of them is: whatever becomes of this server, its
next start lets those go, and no others.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import orjson

from ikoma.app_folder import App
from ikoma.apps.app import Apps
from ikoma.checkpoints import checkpoint
from ikoma.durable import write_file
from ikoma.ports.progress import Progress
from ikoma.ports.runtime import Engine

CONSISTENT, CRASH_CONSISTENT = "consistent", "crash-consistent"
"""Nobody could write to the volume while it was read; or its files may be of several moments."""

_FILE = "held.json"


@dataclass(slots=True)
class Hold:
    """The replicas that are held still, and the seconds that it took. `is_over` once they were let go too early."""

    replicas: Sequence[str] = ()
    seconds: float = 0.0
    is_over: bool = False


class VolumeWriters:
    """The replicas that write to volumes of apps. Callers hold the app's lock."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def can_change(self, volume: str, hold: Hold) -> bool:
        """Whether a replica may write to the volume now, or could since it was let go."""
        writers = await self._engine.volumes.list_writers(volume)
        return any(item.state != "paused" or (hold.is_over and item.id in hold.replicas) for item in writers)

    @asynccontextmanager
    async def held(self, app: App, volumes: Sequence[str], most: int | None, progress: Progress) -> AsyncIterator[Hold]:
        """Hold the app's own writers of these volumes still for the block, and for no more than `most` seconds.

        Those that somebody else has paused stay so, and writers of other projects are left alone.

        Args:
            most: None where nothing is to be held.
        """
        hold = Hold()
        wanted = [] if most is None else await self._find_own(app, volumes)
        if most is None or not wanted:
            yield hold
            return
        hold.replicas = wanted
        write_file(app.make_state() / _FILE, orjson.dumps(wanted), mode=0o600)
        checkpoint("writers noted")
        progress(f"hold what writes to the volumes still, for {most} s at most")
        began = time.monotonic()
        ending = asyncio.ensure_future(self._end_after(most, began, hold))
        try:
            for identity in wanted:
                if not hold.is_over:
                    await self._engine.runtime.pause(identity)
            checkpoint("writers held")
            yield hold
        finally:
            ending.cancel()
            await asyncio.wait([ending])
            await asyncio.shield(self.end_hold(app))
            hold.seconds = hold.seconds or time.monotonic() - began
            checkpoint("writers let go")

    async def end_hold(self, app: App) -> list[str]:
        """Let the replicas go on that are noted, and forget them; which ones."""
        noted = _read(app)
        for identity in noted:
            await self._engine.runtime.unpause(identity)
        (app.state / _FILE).unlink(missing_ok=True)
        return noted

    def list_held(self, apps: Apps) -> list[App]:
        """List the apps with a note: a backup is under way, or its server was killed."""
        return [app for app in map(apps.locate, apps.list_names()) if (app.state / _FILE).is_file()]

    async def _find_own(self, app: App, volumes: Sequence[str]) -> list[str]:
        writers = [item for volume in volumes for item in await self._engine.volumes.list_writers(volume)]
        own = [item.id for item in writers if item.project == app.name.project and item.state == "running"]
        return list(dict.fromkeys(own))

    async def _end_after(self, seconds: float, began: float, hold: Hold) -> None:
        await asyncio.sleep(seconds)
        hold.is_over = True
        for identity in hold.replicas:
            await self._engine.runtime.unpause(identity)
        hold.seconds = time.monotonic() - began


def _read(app: App) -> list[str]:
    found = app.read_state(_FILE)
    return [str(item) for item in found] if isinstance(found, list) else []
