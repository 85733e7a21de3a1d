"""Brings a backup back whose only copy is off this machine. Once here, and verified, it is one like the others."""

from __future__ import annotations

import asyncio

from ikoma.apps.backups.folder import AppBackups
from ikoma.apps.backups.names import AppBackupName
from ikoma.apps.database.backups import Backups
from ikoma.apps.offsite.offsite import Offsite
from ikoma.model import DUMP_ENDINGS, AppName, BackupName
from ikoma.ports.progress import Progress


class BackupReturn:
    """Fetches copies to BACKUPS_ROOT."""

    def __init__(self, offsite: Offsite, backups: Backups, app_backups: AppBackups) -> None:
        self._offsite = offsite
        self._backups = backups
        self._app_backups = app_backups

    async def ensure(self, app: AppName, name: str, progress: Progress) -> None:
        """Fetch a backup that is not here and is known to be off this machine; else nothing is done.

        Raises:
            OffsiteUnreachable, OffsiteSealed, OffsiteDamaged: it cannot be fetched.
            BackupDamaged, BackupForeign: what was fetched is not this app's, or not what its manifest says.
        """
        if (self._backups.root / name).exists() or self._offsite.read_known().find(app, name) is None:
            return
        await self.fetch(app, name, progress)

    async def fetch(self, app: AppName, name: str, progress: Progress) -> None:
        """Fetch a backup into a work folder, compare its files with its manifest, and give it its name."""
        with self._app_backups.work() as place:
            await self._offsite.fetch(app, name, place, progress)
            if name.endswith(DUMP_ENDINGS):
                await asyncio.to_thread(self._backups.take_in, app, BackupName(name), place)
            else:
                await asyncio.to_thread(self._app_backups.take_in, app, AppBackupName(name), place)
