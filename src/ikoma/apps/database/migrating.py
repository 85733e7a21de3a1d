"""The database of an app on the way from one release to another: backed up, then brought forward, or back.

Migrations that the release before can run with are applied while it serves. Others stop it first; then no row is
written between the backup and the end of the rollout, and a rollout that fails restores the backup without loss. That
this way back leads back is proven before, on a copy: nothing is stopped where it does not.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ikoma.app_folder import App
from ikoma.apps.database import credentials, migration_files
from ikoma.apps.database.backups import Backups
from ikoma.apps.database.restoring import DatabaseRestorer
from ikoma.apps.database.rollback_planning import DatabaseRollbackPlan, KnownBackup, RollbackMethod, plan_rollback
from ikoma.apps.releases.release import Release, Releases
from ikoma.compose.release_folder import TREE
from ikoma.compose.roles.release_command import ReleaseCommand
from ikoma.errors import BackupMissing, CannotGoBack, DatabasesUnavailable, SqlFailed, SqlStopped
from ikoma.model import BackupName, quote_name
from ikoma.ports.databases import Credentials, Databases, LedgerEntry, Migration, MigrationRehearsal
from ikoma.ports.progress import Progress, ignore_progress
from ikoma.postgres.migrations.lint import MigrationVerdict, lint_all
from ikoma.postgres.migrations.losses import find_losses, word_rows
from ikoma.postgres.sql.parser import read

log = logging.getLogger("ikoma")
Change = Callable[[Credentials], Awaitable[None]]

_STATEMENT_SECONDS = 600.0
_COMMAND = "release-command-"
_UNPROVEN = "A backup of the database cannot be restored, so nothing was stopped or changed"


def is_command(name: str) -> bool:
    """Whether an entry of the ledger is of a release command, and of no migration."""
    return name.startswith(_COMMAND)


class DatabaseMigrator:
    """The databases of apps.

    Args:
        lock_seconds: how long a migration waits for a lock, before it lets others go first and tries again.
    """

    def __init__(
        self, databases: Databases, backups: Backups, restorations: DatabaseRestorer, *, lock_seconds: float
    ) -> None:
        self._databases = databases
        self._backups = backups
        self._restorations = restorations
        self._lock_seconds = lock_seconds

    async def read_ledger(self, app: App) -> Sequence[LedgerEntry]:
        """Read the ledger of the app's database; empty where there is none."""
        owned = credentials.find(app)
        return await self._databases.read_ledger(owned) if owned else []

    async def list_pending(self, app: App) -> list[Migration]:
        """Migrations of the folder that the database does not have; none where the app has no database."""
        if credentials.find(app) is None:
            return []
        return migration_files.select_pending(migration_files.list_migrations(app), await self.read_ledger(app))

    async def lint_pending(self, app: App) -> list[MigrationVerdict]:
        """Tell of each pending migration which locks it takes, and whether the release that serves can run with it."""
        return await _lint(migration_files.list_migrations(app), await self.list_pending(app))

    async def plan_forward(
        self,
        app: App,
        release: str,
        command: ReleaseCommand | None,
        ledger: Sequence[LedgerEntry] | None = None,
        files: Sequence[Migration] | None = None,
    ) -> ForwardMigration:
        """Plan the change to what the app's folder says, for a release that is under way.

        Args:
            ledger: what the database has, where it was read under the lock that is held still.
            files: the migrations of the folder, as they were examined under that lock.
        """
        files = migration_files.list_migrations(app) if files is None else files
        pending: list[Migration] = []
        if credentials.find(app) is not None:
            has = await self.read_ledger(app) if ledger is None else ledger
            pending = migration_files.select_pending(files, has)
        breaking = any(not verdict.compatible for verdict in await _lint(files, pending))
        return self._plan(app, release, pending, command, breaking=breaking)

    def plan_command(self, app: App, release: str, command: ReleaseCommand | None) -> ForwardMigration:
        """Plan a release that brings no migrations of its own."""
        return self._plan(app, release, [], command, breaking=False)

    def _plan(
        self, app: App, release: str, pending: Sequence[Migration], command: ReleaseCommand | None, *, breaking: bool
    ) -> ForwardMigration:
        entry = Migration.of(f"{_COMMAND}{release}", "") if command and credentials.find(app) else None
        breaking = breaking or (command is not None and command.breaking)
        return ForwardMigration(self, app, release, pending, stops_first=breaking, command=command, entry=entry)

    async def prepare_rollback(self, app: App, older: Release, newer: Release | None) -> DatabaseRollback:
        """Prepare the change back to the database of an earlier release.

        Raises:
            CannotGoBack: with the honest reason.
        """
        way = await self.plan_rollback(app, older, newer)
        if way.method is RollbackMethod.CANNOT:
            raise CannotGoBack(str(way))
        downs = migration_files.list_down_migrations(app, _find_kept_migrations(app, newer)) if way.undo else {}
        return DatabaseRollback(self, app, way, [(name, downs[name]) for name in way.undo])

    async def plan_rollback(self, app: App, older: Release, newer: Release | None) -> DatabaseRollbackPlan:
        """Plan how the database could go back to an earlier release, and at what cost."""
        if credentials.find(app) is None:
            return DatabaseRollbackPlan(RollbackMethod.NOTHING, "The app has no database.")
        folder = _find_kept_migrations(app, newer)
        return plan_rollback(
            [LedgerEntry(**entry) for entry in older.ledger],
            await self.read_ledger(app),
            files=migration_files.list_migrations(app),
            downs=migration_files.list_down_migrations(app, folder).keys(),
            backups=self._list_backups(app),
        )

    async def count_losses(self, app: App, back: DatabaseRollback) -> list[str]:
        """Count the losses of going back, as of now: one line for each table or column."""
        if not back.stops_first:
            return []
        rows = await self._databases.count_rows(credentials.require(app))
        if back.plan.backup is None:
            found = [await read(find_losses, down, rows) for _, down in back.downs]
            return list(dict.fromkeys(line for lines in found for line in lines))
        return self._compare_rows(app, back.plan.backup, rows)

    async def count_sql_losses(self, app: App, sql: Sequence[Migration]) -> list[str]:
        """The rows that some SQL takes away, as far as its text tells: a line for each table or column, counted now."""
        owned = credentials.find(app)
        if owned is None or not sql:
            return []
        rows = await self._databases.count_rows(owned)
        found = [line for item in sql for line in await read(find_losses, item, rows, only_rows=True)]
        return list(dict.fromkeys(found))

    async def compare_with_backup(self, app: App, backup: str) -> list[str]:
        """List the differences from a backup: a line for each table with other rows, counted now."""
        return self._compare_rows(app, backup, await self._databases.count_rows(credentials.require(app)))

    def _compare_rows(self, app: App, backup: str, rows: Mapping[str, int | None]) -> list[str]:
        held = next((item.tables for item in self._backups.list_of(app.name) if item.name == backup), {})
        return [f"{quote_name(table)}: {_describe_rows(table, rows, held)}" for table in sorted({*rows, *held})]

    async def rehearse(self, app: App, change: Change, progress: Progress, *, needed: bool = False) -> None:
        """Prove, on a copy that is thrown away, that a backup of the database can be restored; then change the copy."""
        owned, copy = credentials.require(app), _locate_rehearsal(app)
        copy.unlink(missing_ok=True)

        def tell(message: str, fraction: float | None = None) -> None:
            progress(f"rehearsal: {message}", fraction)

        tell("back the database up")
        try:
            dump = await self._databases.dump(app.name, copy, progress=tell)
            async with self._databases.make_stand_in(owned) as place:
                tell("restore the backup into a copy")
                await self._databases.prove(owned, dump, place, what=_UNPROVEN, progress=tell)
                tell("change the copy")
                if await self._may_enter(place, needed):
                    await change(place)
        finally:
            copy.unlink(missing_ok=True)

    async def try_on_copy(
        self, app: App, migrations: Sequence[Migration], progress: Progress, *, timeout: float
    ) -> RehearsedMigrations:
        """Apply migrations to a copy of the database that is thrown away, up to the first that fails.

        Raises:
            MigrationChanged: one was applied with another content.
            BackupUnproven, DiskFull, DatabasesUnavailable: there can be no copy, or its role may not enter it.
        """
        done, failed = list[MigrationRehearsal](), list[SqlFailed]()

        async def change(place: Credentials) -> None:
            for number, migration in enumerate(migrations):
                progress(f"rehearsal: migrate {migration.name}", number / len(migrations))
                try:
                    seen = await self._databases.rehearse(place, migration, timeout=timeout)
                except SqlFailed as error:
                    failed.append(error)
                    return
                done.extend([seen] if seen else [])

        await self.rehearse(app, change, progress, needed=True)
        return RehearsedMigrations(done, failed[0] if failed else None)

    async def _may_enter(self, place: Credentials, needed: bool) -> bool:
        """Whether the app's role is let into the copy: another's server may have rules that name databases."""
        try:
            await self._databases.read_ledger(place)
        except DatabasesUnavailable as error:
            if needed or not error.shuts_out:
                raise
            log.warning("%s: migrations are not tried on a copy: its role is not let into it", place.role)
            return False
        return True

    async def tidy(self, app: App) -> None:
        """Remove what a kill has left of a rehearsal, and say what one has left of a restore."""
        if (ended := await self._restorations.settle(app)) is not None:
            log.warning("%s: %s", app.name, ended)
        if (copy := _locate_rehearsal(app)).exists():
            await self._databases.drop_stand_in(app.name)
            copy.unlink()

    async def back_up(self, app: App, progress: Progress) -> str:
        """Make a backup; its name."""
        progress("backing the database up")
        dump = await self._databases.dump(app.name, self._backups.reserve(app.name, None), progress=progress)
        return self._backups.record(app.name, dump).name

    async def restore(self, app: App, backup: str, progress: Progress, *, into: Credentials | None = None) -> None:
        """Make the database, or the copy that stands in for it, equal to a backup again."""
        progress(f"restoring {backup}")
        path = self._backups.root / BackupName.parse(backup)
        if not path.is_file():
            raise BackupMissing(f"The backup {backup} is not there any more.")
        found = await asyncio.to_thread(self._backups.find, app.name, BackupName(backup))
        owned = credentials.require(app)
        await self._databases.restore(owned, path, sha256=found.sha256, into=into, progress=progress)

    async def migrate(
        self,
        where: Credentials,
        migration: Migration,
        *,
        timeout: float = _STATEMENT_SECONDS,
        lock_timeout: float | None = None,
    ) -> bool:
        """Apply a migration with its entry in the ledger, or nothing of it; False where it had been applied before."""
        patience = lock_timeout or self._lock_seconds
        return await self._databases.migrate(where, migration, timeout=timeout, lock_timeout=patience)

    async def revert(self, where: Credentials, name: str, down: Migration) -> None:
        """Undo a migration, which is the newest."""
        await self._databases.revert(where, name, down, timeout=_STATEMENT_SECONDS, lock_timeout=self._lock_seconds)

    def _list_backups(self, app: App) -> list[KnownBackup]:
        """The app's backups; of those that deploys made it is known which migrations they hold."""
        held = {}
        for release in Releases(app).list_all():
            if release.backup is not None and release.served_at is not None:
                held[release.backup] = {
                    entry["name"]: entry["checksum"] for entry in release.ledger if entry["name"] not in release.applied
                }
        return [
            KnownBackup(item.name, item.created_at, held.get(item.name)) for item in self._backups.list_of(app.name)
        ]


@dataclass(frozen=True, slots=True)
class RehearsedMigrations:
    """Migrations that were tried on a copy: the effects of those that went well, and the error that ended it."""

    done: Sequence[MigrationRehearsal]
    failed: SqlFailed | None


@dataclass(slots=True)
class ForwardMigration:
    """Applies what is pending."""

    migrator: DatabaseMigrator
    app: App
    release: str
    pending: Sequence[Migration]
    stops_first: bool
    command: ReleaseCommand | None = None
    entry: Migration | None = None
    """The command's entry for the ledger; None where the app has no database here."""
    is_untouched: bool = True
    output: tuple[str, ...] = ()
    """The command's last lines."""

    @property
    def applied(self) -> tuple[str, ...]:
        """The entries that the ledger gains by the whole change."""
        return tuple(item.name for item in (*self.pending, *([self.entry] if self.entry else [])))

    async def rehearse(self, progress: Progress) -> None:
        if self.stops_first and self.applied:
            await self.migrator.rehearse(self.app, self._try, progress)

    async def back_up(self, progress: Progress) -> str | None:
        if not self.applied:
            return None
        name = await self.migrator.back_up(self.app, progress)
        releases = Releases(self.app)  # at once: however the deploy ends, its record says which backup preceded it
        releases.write(replace(releases.find(self.release), backup=name))
        return name

    async def apply(self, progress: Progress) -> None:
        for number, migration in enumerate(self.pending):
            progress(f"migrate {migration.name}", number / len(self.pending))
            before, self.is_untouched = self.is_untouched, False
            try:
                await self.migrator.migrate(credentials.require(self.app), migration)
            except SqlFailed as error:
                self.is_untouched = before and not isinstance(error, SqlStopped)  # else nothing of it was kept
                raise

    async def enter_command(self) -> None:
        self.is_untouched = False
        if self.entry is not None:
            await self.migrator.migrate(credentials.require(self.app), self.entry)

    def keep_output(self, lines: Sequence[str]) -> None:
        self.output = tuple(lines)
        releases = Releases(self.app)
        releases.write(replace(releases.find(self.release), output=self.output))

    async def _try(self, place: Credentials) -> None:
        for migration in self.pending:
            await self.migrator.migrate(place, migration)


@dataclass(slots=True)
class DatabaseRollback:
    """Takes the database back. What serves is stopped first: it would go on writing into what is given up."""

    migrator: DatabaseMigrator
    app: App
    plan: DatabaseRollbackPlan
    downs: Sequence[tuple[str, Migration]]
    is_untouched: bool = True
    command: ReleaseCommand | None = None
    """The command is None: an earlier release does not run its command again."""

    @property
    def stops_first(self) -> bool:
        return self.plan.method is not RollbackMethod.NOTHING

    async def rehearse(self, progress: Progress) -> None:
        if self.stops_first:
            await self.migrator.rehearse(self.app, partial(self._go_back, ignore_progress), progress)

    async def back_up(self, progress: Progress) -> str | None:
        return await self.migrator.back_up(self.app, progress) if self.stops_first else None

    async def apply(self, progress: Progress) -> None:
        self.is_untouched = False
        await self._go_back(progress, credentials.require(self.app))

    async def enter_command(self) -> None:
        return None

    def keep_output(self, lines: Sequence[str]) -> None:
        return None

    async def _go_back(self, progress: Progress, where: Credentials) -> None:
        if self.plan.backup is not None:
            await self.migrator.restore(self.app, self.plan.backup, progress, into=where)
        for name, down in self.downs:
            progress(f"undo {name}")
            await self.migrator.revert(where, name, down)


async def _lint(files: Sequence[Migration], pending: Sequence[Migration]) -> list[MigrationVerdict]:
    if not pending:
        return []
    names = {item.name for item in pending}
    return await read(lint_all, pending, [item for item in files if item.name not in names])


def _locate_rehearsal(app: App) -> Path:
    """The backup of a rehearsal: as long as it is there, so may the copy of the database be."""
    return app.state / "rehearsal.sql"


def _describe_rows(table: str, rows: Mapping[str, int | None], held: Mapping[str, int]) -> str:
    """Compare the rows of a table now with those in the backup."""
    if table not in rows:
        return f"{word_rows(held[table])} in the backup, and no such table now"
    then = word_rows(held[table]) if table in held else "no such table"
    return f"{word_rows(rows[table])} now, {then} in the backup"


def _find_kept_migrations(app: App, release: Release | None) -> Path | None:
    """Find the migrations that a release was deployed with; None for those of the app's folder."""
    if release is None:
        return None
    folder = Releases(app).locate_folder(release.id) / TREE / "migrations"
    return folder if folder.is_dir() else None
