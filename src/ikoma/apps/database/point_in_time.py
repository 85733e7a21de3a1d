"""Brings an app's database, or some of its tables, back to a second: recovered beside, taken out, compared, and put in
place as any restore is.

The other apps' databases and the live server are not touched. A server that was killed leaves the one or the other.
"""

from __future__ import annotations

from collections.abc import Sequence

from ikoma.app_folder import App
from ikoma.apps.database.restoring import (
    DatabaseRestorer,
    RestoredDatabase,
    TableComparison,
    compare_tables,
    name_work,
)
from ikoma.apps.database.restoring_tables import RestoredAppTables, TableRestorer, TableSource
from ikoma.checkpoints import checkpoint
from ikoma.errors import PointInTimeOff
from ikoma.moments import EntryTime
from ikoma.ports.archive import PointInTime, RecoveryWindow
from ikoma.ports.databases import Credentials, Databases, Dump
from ikoma.ports.progress import Progress

_LONGEST_COUNT = 60.0


class PointInTimeRestorer:
    """Goes back to times of the archive. Callers hold the app's lock."""

    def __init__(
        self, databases: Databases, restorer: DatabaseRestorer, tables: TableRestorer, archive: PointInTime | None
    ) -> None:
        """
        Args:
            archive: None where the server keeps none.
        """
        self._databases = databases
        self._restorer = restorer
        self._tables = tables
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
        owned = await self._restorer.require(app)
        with self._restorer.noted(app, f"the state of {time}") as note:
            dump = await self._take_out(app, owned, time, progress)
            return await self._restorer.replace(app, owned, note, dump, of=app.name, progress=progress)

    async def compare_tables(
        self, app: App, time: EntryTime, names: Sequence[str], progress: Progress
    ) -> list[TableComparison]:
        """Compare these tables now with those of then; nothing is changed.

        Raises what `restore` raises, and TableMissing or TablesDiffer where a restore would be refused for that.
        """
        owned = await self._restorer.require(app)
        app.make_state()
        try:
            dump = await self._take_out(app, owned, time, progress)
            source = TableSource(f"the state of {time}", dump, app.name)
            return await self._tables.compare_with(app, owned, source, names, progress)
        finally:
            name_work(app).unlink(missing_ok=True)

    async def restore_tables(
        self, app: App, time: EntryTime, names: Sequence[str], progress: Progress
    ) -> RestoredAppTables:
        """Let these tables equal what they were at that moment; all else stays as it is now.

        Raises what `restore` and `TableRestorer.restore` raise; nothing was changed.
        """
        owned = await self._restorer.require(app)
        with self._restorer.noted(app, f"the state of {time}"):
            dump = await self._take_out(app, owned, time, progress)
            source = TableSource(f"the state of {time}", dump, app.name)
            return await self._tables.put_back(app, owned, source, names, progress)

    async def _take_out(self, app: App, owned: Credentials, time: EntryTime, progress: Progress) -> Dump:
        """A dump of the app's database as it was, in the file of `name_work`."""
        work = name_work(app)
        work.unlink(missing_ok=True)
        async with self._require_archive().recover(owned, time, progress) as recovered:
            checkpoint("recovered")
            dump = await recovered.dump(work, progress)
        checkpoint("taken out")
        return dump

    def _require_archive(self) -> PointInTime:
        if self._archive is None:
            raise PointInTimeOff
        return self._archive
