"""Brings an app's database back to a second: recovered beside, taken out, compared, and swapped as any restore is.

The other apps' databases and the live server are not touched. A server that was killed leaves the one or the other.
"""

from __future__ import annotations

from ikoma.app_folder import App
from ikoma.apps.database.restoring import (
    DatabaseRestorer,
    RestoredDatabase,
    TableComparison,
    compare_tables,
    name_work,
)
from ikoma.checkpoints import checkpoint
from ikoma.errors import PointInTimeOff
from ikoma.model import EntryTime
from ikoma.ports.archive import PointInTime, RecoveryWindow
from ikoma.ports.databases import Databases
from ikoma.ports.progress import Progress

_LONGEST_COUNT = 60.0


class PointInTimeRestorer:
    """Goes back to times of the archive. Callers hold the app's lock."""

    def __init__(self, databases: Databases, restorer: DatabaseRestorer, archive: PointInTime | None) -> None:
        """
        Args:
            archive: None where the server keeps none.
        """
        self._databases = databases
        self._restorer = restorer
        self._archive = archive

    @property
    def is_on(self) -> bool:
        return self._archive is not None

    async def read_window(self) -> RecoveryWindow | None:
        """From when to when one can go back now; None where it is not set up."""
        return None if self._archive is None else await self._archive.read_window()

    async def compare(self, app: App, time: EntryTime, progress: Progress) -> list[TableComparison]:
        """Compare the app's tables now with those of then; nothing is changed."""
        owned = await self._restorer.require(app)
        async with self._require_archive().recover(owned, time, progress) as recovered:
            then = await recovered.count_rows(owned, timeout=_LONGEST_COUNT)
        return compare_tables(await self._databases.count_rows(owned, timeout=_LONGEST_COUNT), then)

    async def restore(self, app: App, time: EntryTime, progress: Progress) -> RestoredDatabase:
        """Let the app's database equal what it was at that moment.

        Raises:
            PointInTimeOff, TimeOutsideWindow, ArchiveBroken, RecoveryFailed: the database was not touched.
            AppBusy: a rollout is not settled, or a session does not end; the database was not touched.
        """
        archive = self._require_archive()
        owned = await self._restorer.require(app)
        with self._restorer.noted(app, f"the state of {time}") as note:
            work = name_work(app)
            work.unlink(missing_ok=True)
            async with archive.recover(owned, time, progress) as recovered:
                checkpoint("recovered")
                dump = await recovered.dump(work, progress)
            checkpoint("taken out")
            return await self._restorer.replace(app, owned, note, dump, of=app.name, progress=progress)

    def _require_archive(self) -> PointInTime:
        if self._archive is None:
            raise PointInTimeOff
        return self._archive
