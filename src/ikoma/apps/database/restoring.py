"""Restores an app's database: a backup is loaded beside, proven, and takes the live one's place by its name alone.

`.ikoma/restoring.json` says what is under way; it is written first. Until the names change the live database is not
touched, and after that the former one is the undo copy, for a week. Both happen at once, so a server that was killed
finds the one or the other, and says which.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from ikoma.app_folder import App
from ikoma.apps.database import credentials
from ikoma.apps.database.backups import BackupManifest, Backups
from ikoma.checkpoints import checkpoint
from ikoma.durable import write_file
from ikoma.errors import DatabaseMissing, DatabasesUnavailable
from ikoma.model import AppName, quote_name
from ikoma.moments import format_moment
from ikoma.ports.databases import Credentials, Databases, Dump, UndoCopy, measure_room
from ikoma.ports.progress import Progress
from ikoma.rollout_state import RolloutState

UNDO_DAYS = 7
_FILE = "restoring.json"
_LONGEST_COUNT = 20.0
_MAYBE_SWAPPED = "Before you try again: db.status shows whether it was done, by the time of `undo`."


@dataclass(frozen=True, slots=True)
class TableComparison:
    """Rows of a table now and in a backup; None where there is no such table, or it was not counted in time."""

    name: str
    now: int | None
    backup: int | None


@dataclass(frozen=True, slots=True)
class RestoredDatabase:
    """A restore that is done: `undo` is the copy of what was before, `waited` the seconds that the app waited."""

    undo: UndoCopy
    waited: float
    tables: Mapping[str, int]


class DatabaseRestorer:
    """Restores databases of apps. Callers hold the app's lock."""

    def __init__(self, databases: Databases, backups: Backups) -> None:
        self._databases = databases
        self._backups = backups

    async def compare(self, app: App, manifest: BackupManifest) -> list[TableComparison]:
        """Compare the app's tables now with those of a backup."""
        owned = await self.require(app)
        rows = await self._databases.count_rows(owned, timeout=_LONGEST_COUNT)
        return compare_tables(rows, manifest.tables)

    async def restore(self, app: App, manifest: BackupManifest, progress: Progress) -> RestoredDatabase:
        """Let the app's database equal a backup of its own, or of another app's.

        Raises:
            BackupForeign, BackupDamaged, BackupUnproven: it cannot be restored; the database was not touched.
            AppBusy: a rollout is not settled, or a session does not end; the database was not touched.
        """
        dump = self._backups.describe(manifest)
        owned = await self.require(app)
        with self.noted(app, manifest.name) as note:
            return await self.replace(app, owned, note, dump, of=AppName(manifest.app), progress=progress)

    async def replace(
        self, app: App, owned: Credentials, note: UndoCopy, dump: Dump, *, of: AppName, progress: Progress
    ) -> RestoredDatabase:
        """Let the app's database equal a dump; for the block of a note."""

        async def fill(place: Credentials, what: str) -> Mapping[str, int]:
            await self._databases.fill(place, dump, of=of, work=name_work(app), what=what, progress=progress)
            return dump.tables

        return await self._replace(owned, note, dump.room, fill, progress)

    async def restore_foreign(
        self, app: App, name: str, path: Path, progress: Progress, *, size: int, told: Dump | None
    ) -> RestoredDatabase:
        """Let the app's database be what a dump brings that this server did not make, as the app's own role.

        Args:
            size: bytes of it.
            told: what another server's manifest says of it.

        Raises:
            SandboxMissing, BackupForeign, BackupDamaged, BackupUnproven: it cannot be; the database was not touched.
            AppBusy: a rollout is not settled, or a session does not end; the database was not touched.
        """

        async def fill(place: Credentials, what: str) -> Mapping[str, int]:
            work = name_work(app)
            await self._databases.load_foreign(place, path, told=told, work=work, what=what, progress=progress)
            rows = await self._databases.count_rows(place, timeout=_LONGEST_COUNT)
            return {table: count for table, count in rows.items() if count is not None}

        owned = await self.require(app)
        with self.noted(app, name) as note:
            return await self._replace(owned, note, measure_room(path, size), fill, progress)

    async def _replace(
        self,
        owned: Credentials,
        note: UndoCopy,
        size: int,
        fill: Callable[[Credentials, str], Awaitable[Mapping[str, int]]],
        progress: Progress,
    ) -> RestoredDatabase:
        """Fill a new database beside the app's, and let it take its place.

        Args:
            size: bytes of what is loaded.
            fill: loads it into the database; how a sentence begins that says why that fails. Rows of each table.
        """
        async with self._databases.make_beside(owned, size=size) as place:
            checkpoint("made beside")
            progress(f"restore {note.backup} beside the database")
            tables = await fill(place, f"{note.backup} cannot be restored, and the database was not touched")
            checkpoint("filled")
            progress("swap the databases")
            with _tell_maybe_swapped():
                waited = await self._databases.swap_in(place, note)
            checkpoint("swapped")
        return RestoredDatabase(note, waited, tables)

    async def undo(self, app: App, progress: Progress) -> RestoredDatabase:
        """Let the database be again that was replaced last; what is now becomes the copy.

        Raises:
            UndoMissing: there is none any more.
        """
        owned = await self.require(app)
        with self.noted(app, "") as note:
            progress("swap the databases")
            with _tell_maybe_swapped():
                waited = await self._databases.swap_back(app.name, note)
            checkpoint("swapped")
        rows: Mapping[str, int | None] = {}
        with suppress(DatabasesUnavailable):  # it is done, whoever counts
            rows = await self._databases.count_rows(owned, timeout=_LONGEST_COUNT)
        return RestoredDatabase(note, waited, {name: count for name, count in rows.items() if count is not None})

    async def settle(self, app: App) -> str | None:
        """Say how a restore has ended whose server was killed; None where none was. It is the one or the other."""
        stored = app.read_state(_FILE)
        if stored is None:
            return None
        if "before" in stored:
            return await self._settle_tables(app, stored, stored.get("transaction"))
        copy = await self._databases.find_undo(app.name)
        _end(app)
        what = f"the restore of {stored.get('backup')}" if stored.get("backup") else "the undo of a restore"
        if copy is not None and asdict(copy) == stored:
            return f"{what} was done when its server was killed"
        return f"{what} was cut off, and the database was not touched"

    async def _settle_tables(self, app: App, stored: Mapping[str, Any], transaction: int | None) -> str:
        """PostgreSQL knows what became of the one transaction that does it all; without a number it changed nothing."""
        outcome = "aborted" if transaction is None else await self._databases.read_outcome(transaction)
        if outcome == "aborted":  # what it was made for has not happened
            self._backups.remove(stored["before"])
        _end(app)
        what = f"the restore of {', '.join(map(quote_name, stored['tables']))} from {stored['backup']}"
        before = f"{stored['before']} holds what was before"
        if outcome is None:
            return f"{what} may have been done when its server was killed; {before}"
        if outcome == "committed":
            return f"{what} was done when its server was killed; {before}"
        return f"{what} was cut off, and no row was changed"

    @contextmanager
    def noted(self, app: App, what: str) -> Iterator[UndoCopy]:
        """Write down for the block what is begun: the note that the undo copy will carry.

        Raises:
            AppBusy: a rollout is not settled.
        """
        RolloutState(app).require_settled()
        now = datetime.now(UTC)
        until = format_moment(now + timedelta(days=UNDO_DAYS), "microseconds")
        note = UndoCopy(app.name, what, format_moment(now, "microseconds"), until)
        write_note(app, orjson.dumps(asdict(note)))
        checkpoint("noted")
        try:
            yield note
        finally:
            _end(app)

    async def require(self, app: App) -> Credentials:
        """The app's own database; DatabaseMissing where it has none."""
        owned = credentials.require(app)
        if not await self._databases.owns(app.name):
            raise DatabaseMissing(f"There is no database {owned.database!r} to restore over.")
        return owned


def compare_tables(now: Mapping[str, int | None], then: Mapping[str, int | None]) -> list[TableComparison]:
    """Compare rows by table, of now and of what is restored."""
    return [TableComparison(name, now.get(name), then.get(name)) for name in sorted({*now, *then})]


def list_losses(compared: Sequence[TableComparison]) -> list[str]:
    """List the tables with fewer rows in the backup than now, a line for each: the undo copy alone has those."""
    lines = []
    for item in compared:
        name = quote_name(item.name)
        if item.backup is None:
            lines.append(f"{name}: is not in the backup" + ("" if item.now is None else f" ({item.now} rows now)"))
        elif item.now is not None and item.now > item.backup:
            lines.append(f"{name}: {item.now} rows now, {item.backup} in the backup")
    return lines


def name_work(app: App) -> Path:
    """The path of what is on its way while a restore is noted."""
    return app.state / "restoring.sql"


def write_note(app: App, content: bytes) -> None:
    """Write down what is under way, for the start after a kill."""
    write_file(app.make_state() / _FILE, content, mode=0o600)


def _end(app: App) -> None:
    name_work(app).unlink(missing_ok=True)
    (app.state / _FILE).unlink(missing_ok=True)


@contextmanager
def _tell_maybe_swapped() -> Iterator[None]:
    """Say of a swap during which PostgreSQL went away how to see whether it was done."""
    try:
        yield
    except DatabasesUnavailable as error:
        error.add(_MAYBE_SWAPPED)
        raise
