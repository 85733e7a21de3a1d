"""The proof of a backup, made before the backup has its name: none is seen that nobody has tried to restore.

But for the one that a deploy makes before it changes the database: that is proven once the release serves, since nobody
is to wait for it without the app.
"""

from __future__ import annotations

import asyncio
import logging

from ikoma.app_folder import App
from ikoma.apps.database import credentials
from ikoma.apps.database.backups import BackupManifest, Backups
from ikoma.errors import BackupUnproven, DiskFull, IkomaError
from ikoma.model import BackupName
from ikoma.ports.databases import Credentials, Databases, Dump
from ikoma.ports.progress import Progress, ignore_progress

log = logging.getLogger("ikoma")


def tell_kept(error: IkomaError, name: str) -> None:
    """Say of a backup that could not be tried, for a reason that is none of its own, that it is there."""
    if not isinstance(error, BackupUnproven):
        error.add(f"{name} is kept without a proof: backup.verify proves it.")


class BackupProof:
    """Restores a dump into the database that stands in for the app's own, and remembers what came of it.

    A dump that cannot be restored is kept: its rows are whole, and there may be no other.
    """

    def __init__(self, databases: Databases, owned: Credentials, name: str, progress: Progress) -> None:
        self._databases = databases
        self._owned = owned
        self._name = name
        self._progress = progress
        self._failure: BackupUnproven | DiskFull | None = None
        self.seconds: float | None = None
        """The seconds that the restore took; None where it failed."""

    async def make(self, dump: Dump) -> None:
        self._progress("prove")
        what = f"The backup {self._name} was written, and cannot be restored"
        try:
            async with self._databases.make_stand_in(self._owned) as place:
                self.seconds = await self._databases.prove(
                    self._owned, dump, place, what=what, progress=ignore_progress
                )
        except (BackupUnproven, DiskFull) as error:
            self._failure = error

    def require(self) -> float:
        """Seconds that the restore took; raises what it failed of."""
        if self._failure is not None:
            raise self._failure
        assert self.seconds is not None
        return self.seconds


async def prove_dump(
    databases: Databases, backups: Backups, app: App, name: BackupName, progress: Progress
) -> BackupManifest:
    """Restore a dump beside, compare it, and write that down; its record of then.

    Raises:
        BackupMissing, BackupForeign, BackupDamaged: there is none that this server has made.
        BackupUnproven, DiskFull: it cannot be restored.
    """
    manifest = await asyncio.to_thread(backups.find, app.name, name)
    proof = BackupProof(databases, credentials.require(app), manifest.name, progress)
    await proof.make(backups.describe(manifest))
    return backups.record_proof(manifest, proof.require())


async def prove_after_change(
    databases: Databases, backups: Backups, app: App, name: str | None, progress: Progress
) -> list[str]:
    """Prove the backup that was made before a change of the database, if any; says what is wrong with it.

    The change is done by then, so what cannot be proven is told and is no error.
    """
    if name is None:
        return []
    try:
        await prove_dump(databases, backups, app, BackupName(name), progress)
    except IkomaError as error:
        log.warning("%s: the backup %s is not proven: %s", app.name, name, error.message)
        return [f"The backup {name}, made before the database was changed, is not proven: {error.message}"]
    return []
