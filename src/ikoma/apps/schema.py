"""The database of an app on the way from one release to the next: backed up, then brought forward."""

from __future__ import annotations

from dataclasses import dataclass

from ikoma.apps import credentials, sql_files
from ikoma.apps.backups import Backups
from ikoma.apps.folder import App
from ikoma.ports import Databases, Migration, Progress

_STATEMENT_SECONDS, _LOCK_SECONDS = 600.0, 10.0


@dataclass(frozen=True, slots=True)
class Step:
    """What a deploy does with the database."""

    migrations: tuple[str, ...] = ()
    """Names of all migrations that the database has after it."""
    applied: tuple[str, ...] = ()
    """Those that were applied."""
    backup: str | None = None
    """The backup that was made before."""


class Schema:
    """Brings databases forward."""

    def __init__(self, databases: Databases, backups: Backups) -> None:
        self._databases = databases
        self._backups = backups

    async def pending(self, app: App) -> list[Migration]:
        """Migrations of the folder that the database does not have; none where the app has no database."""
        owned = credentials.find(app)
        if owned is None:
            return []
        return sql_files.pending(sql_files.migrations(app), await self._databases.ledger(owned))

    async def bring_forward(self, app: App, progress: Progress) -> Step:
        """Back the database up and apply what is pending.

        Raises:
            SqlFailed: nothing of that migration is kept; those before it are.
        """
        owned = credentials.find(app)
        if owned is None:
            return Step()
        pending = await self.pending(app)
        backup = await self._back_up(app, progress) if pending else None
        for number, migration in enumerate(pending):
            progress(f"migrate {migration.name}", number / len(pending))
            await self._databases.migrate(owned, migration, timeout=_STATEMENT_SECONDS, lock_timeout=_LOCK_SECONDS)
        ledger = await self._databases.ledger(owned)
        return Step(tuple(entry.name for entry in ledger), tuple(item.name for item in pending), backup)

    async def _back_up(self, app: App, progress: Progress) -> str:
        progress("backing the database up")
        dump = await self._databases.dump(app.name, self._backups.reserve(app.name, None), progress=progress)
        return self._backups.record(app.name, dump).name
