"""The data of a project that is imported, copied once while it runs and once while it does not.

The second time only what has changed is copied, where the files are seen from here: folders of the project, and volumes
that the engine keeps on this machine's disk. Other volumes are asked of the engine, whole.
"""

from __future__ import annotations

import asyncio
import logging
import tarfile
from pathlib import Path

from ikoma.app_folder import App
from ikoma.apps.importing.mirroring import Mirrored, mirror
from ikoma.apps.importing.plan import CopiedVolume, ImportPlan
from ikoma.ports.progress import Progress
from ikoma.ports.volumes import Volumes

log = logging.getLogger("ikoma")


class CopiedData:
    """Folders and volumes of one import, and when each was copied last."""

    def __init__(self, volumes: Volumes, app: App, plan: ImportPlan) -> None:
        self._volumes = volumes
        self._app = app
        self._plan = plan
        self._former: dict[Path, Mirrored] = {}

    async def copy(self, progress: Progress) -> None:
        """Make the app's data like that of the project, which nobody writes meanwhile."""
        for folder in self._plan.folders:
            await self._mirror(self._plan.project.root / folder.path, self._app.path / folder.path)
        for volume in self._plan.volumes:
            progress(f"copy the volume {volume.old}")
            await self._copy_volume(volume)

    async def _copy_volume(self, volume: CopiedVolume) -> None:
        folder = await self._volumes.locate(volume.old)
        if folder is None:
            await self._load(volume, whole=True)
            return
        if folder not in self._former:
            await self._load(volume, whole=False)
        new = await self._volumes.locate(volume.new)
        if new is None:
            await self._load(volume, whole=True)
        else:
            await self._mirror(folder, new)

    async def _mirror(self, source: Path, target: Path) -> None:
        done = await asyncio.to_thread(mirror, source, target, self._former.get(source))
        self._former[source] = done
        seconds = (done.ended - done.began) / 1e9
        log.info("%s: %s bytes of %s were copied in %.1f s", self._app.name, done.copied, source, seconds)

    async def _load(self, volume: CopiedVolume, *, whole: bool) -> None:
        """Make the new volume, with all that is in the old one or with nothing."""
        work = self._app.make_state() / "import.tar"
        made = self._volumes.describe_new(self._app.name.project, volume.key)
        try:
            if whole:
                await self._volumes.save(self._app.name, volume.old, work)
            else:
                await asyncio.to_thread(_write_empty, work)
            if volume.new in await self._volumes.map_owners():
                await self._volumes.remove(volume.new)
            await self._volumes.load(self._app.name, volume.new, made, work)
        finally:
            work.unlink(missing_ok=True)


def _write_empty(place: Path) -> None:
    tarfile.open(place, "w").close()
