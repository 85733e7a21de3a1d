"""Restores some tables of an app out of a backup, or of a moment, into the database that lives on.

The backup is loaded and proven beside. What the database holds is backed up, and that is proven, while everybody writes
on. Then the tables are put back, in one transaction in which nobody else writes to them. Where they hold other rows by
then than that backup, they are dumped once more in it, and the proof comes afterwards: all they held is in the backup
that the answer names. `.ikoma/restoring.json` has the number of the transaction, by which PostgreSQL itself tells after
a kill whether it was committed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import orjson

from ikoma.app_folder import App
from ikoma.apps.database.backups import BackupManifest, Backups
from ikoma.apps.database.proof import BackupProof, prove_after_change
from ikoma.apps.database.restoring import DatabaseRestorer, TableComparison, name_work, write_note
from ikoma.checkpoints import checkpoint
from ikoma.errors import DatabasesUnavailable
from ikoma.model import AppName
from ikoma.ports.databases import Credentials, Databases, Dump
from ikoma.ports.progress import Progress

_LONGEST_COUNT = 20.0


@dataclass(frozen=True, slots=True)
class RestoredAppTables:
    """Tables that are as in a backup: their rows, the backup of what was before, and the seconds that others waited."""

    rows: Mapping[str, int]
    before: str
    waited: float


@dataclass(frozen=True, slots=True)
class TableSource:
    """Source of tables: its name in a sentence, its dump, and the app that this is of."""

    name: str
    dump: Dump
    of: AppName


class TableRestorer:
    """Restores tables. Callers hold the app's lock."""

    def __init__(
        self, databases: Databases, backups: Backups, restorer: DatabaseRestorer, *, lock_seconds: float
    ) -> None:
        """
        Args:
            lock_seconds: how long it waits for who writes to the tables, before it lets others go first.
        """
        self._databases = databases
        self._backups = backups
        self._restorer = restorer
        self._lock_seconds = lock_seconds

    async def compare(
        self, app: App, manifest: BackupManifest, names: Sequence[str], progress: Progress
    ) -> list[TableComparison]:
        """Compare tables of the app now with those of a backup, which is loaded beside for that; nothing is changed.

        Raises:
            TableMissing, TablesDiffer: a restore would be refused for that.
        """
        owned = await self._restorer.require(app)
        return await self.compare_with(app, owned, self._describe(manifest), names, progress)

    async def compare_with(
        self, app: App, owned: Credentials, source: TableSource, names: Sequence[str], progress: Progress
    ) -> list[TableComparison]:
        """`compare`, with any dump."""
        async with self._loaded(app, owned, source, names, progress) as place:
            now = await self._databases.count_rows(owned, timeout=_LONGEST_COUNT)
            then = await self._databases.count_rows(place, timeout=_LONGEST_COUNT)
        wanted = [name if name in now else name.removeprefix("public.") for name in dict.fromkeys(names)]
        return [TableComparison(name, now.get(name), then.get(name)) for name in wanted]

    async def restore(
        self, app: App, manifest: BackupManifest, names: Sequence[str], progress: Progress
    ) -> RestoredAppTables:
        """Let tables of the app equal those of a backup of its own, or of another app's.

        Raises:
            TableMissing, TablesDiffer, TablesUnmatched: the rows do not fit; nothing was changed.
            BackupForeign, BackupDamaged, BackupUnproven: a backup cannot be restored; nothing was changed.
            RestoreFailed, AppBusy: PostgreSQL refused a row, or a session does not end; nothing was changed.
        """
        owned = await self._restorer.require(app)
        with self._restorer.noted(app, manifest.name):
            return await self.put_back(app, owned, self._describe(manifest), names, progress)

    async def put_back(
        self, app: App, owned: Credentials, source: TableSource, names: Sequence[str], progress: Progress
    ) -> RestoredAppTables:
        """`restore`, out of any dump; for the block of a note."""
        async with self._loaded(app, owned, source, names, progress) as place:
            return await self._swap_tables(app, owned, place, source.name, names, progress)

    def _describe(self, manifest: BackupManifest) -> TableSource:
        return TableSource(manifest.name, self._backups.describe(manifest), AppName(manifest.app))

    @asynccontextmanager
    async def _loaded(
        self, app: App, owned: Credentials, source: TableSource, names: Sequence[str], progress: Progress
    ) -> AsyncIterator[Credentials]:
        """The dump in a database beside, with tables that fit, for the block."""
        dump, of = source.dump, source.of
        async with self._databases.make_beside(owned, size=dump.room) as place:
            checkpoint("made beside")
            what = f"{source.name} cannot be restored, and the database was not touched"
            progress(f"restore {source.name} beside the database")
            await self._databases.fill(place, dump, of=of, work=name_work(app), what=what, progress=progress)
            checkpoint("filled")
            await self._databases.check_tables(owned, place, names)
            yield place

    async def _swap_tables(
        self, app: App, owned: Credentials, place: Credentials, backup: str, names: Sequence[str], progress: Progress
    ) -> RestoredAppTables:
        progress("back the database up")
        made: list[BackupManifest] = []

        def note(**more: int) -> None:
            told = {"app": app.name, "backup": backup, "before": made[-1].name, "tables": list(names)}
            write_note(app, orjson.dumps(told | more))

        async def keep(transaction: int, changed: bool) -> None:
            if changed:
                progress("back up what was written meanwhile")
                made.append(await self._dump(app, progress))
            note(transaction=transaction)
            checkpoint("backed up")
            progress("put the tables back")

        try:
            made.append(await self._back_up(app, owned, progress))
            note()
            done = await self._databases.restore_tables(
                owned, place, names, kept=made[0].checksums, keep=keep, lock_timeout=self._lock_seconds
            )
        except DatabasesUnavailable as error:
            for manifest in made:  # it may have been committed: the backup stays
                error.add(f"{manifest.name} holds what was before, should the tables be others now.")
            raise
        except BaseException:
            self._forget(made)
            raise
        checkpoint("put back")
        self._forget(made[:-1])
        if made[-1].proven_at is None:
            await prove_after_change(self._databases, self._backups, app, made[-1].name, progress)
        return RestoredAppTables(done.rows, made[-1].name, done.waited)

    async def _back_up(self, app: App, owned: Credentials, progress: Progress) -> BackupManifest:
        """Back up all that the database holds, proven."""
        target = self._backups.reserve(app.name, None)
        proof = BackupProof(self._databases, owned, target.name, progress)
        dump = await self._databases.dump(app.name, target, summed=True, before=proof.make, progress=progress)
        manifest = self._backups.record(app.name, dump, restored_in=proof.seconds)
        try:
            proof.require()
        except BaseException:
            self._forget([manifest])
            raise
        return manifest

    async def _dump(self, app: App, progress: Progress) -> BackupManifest:
        """Back up all that the database holds, without a proof: writers wait."""
        target = self._backups.reserve(app.name, None)
        dump = await self._databases.dump(app.name, target, summed=True, progress=progress)
        return self._backups.record(app.name, dump)

    def _forget(self, made: Sequence[BackupManifest]) -> None:
        """Remove backups of what nobody has changed, or of what a later one holds."""
        for manifest in made:
            with suppress(OSError):
                self._backups.remove(manifest.name)
