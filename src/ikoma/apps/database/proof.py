"""The proof of a backup, made before the backup has its name: none is seen that nobody has tried to restore."""

from __future__ import annotations

from ikoma.errors import BackupUnproven, DiskFull
from ikoma.ports.databases import Credentials, Databases, Dump
from ikoma.ports.progress import Progress, ignore_progress


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
