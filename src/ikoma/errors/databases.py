"""Errors of an app's database: its SQL, its migrations and its backups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ikoma.errors.base import IkomaError, Next

_NO_TABLE = "42P01"
"""SQLSTATE of what names a table that is not there."""


class DatabaseMissing(IkomaError):
    """The app has no database yet."""

    code, status = "database_missing", 409
    default_hint = "Call db.create first."
    default_next = (Next("db.create"), Next("db.status"))


class DatabaseForeign(IkomaError):
    """A database or role of this name exists and was not made by IKOMA."""

    code, status = "database_foreign", 409
    default_hint = "Choose another app name, or rename the existing database; IKOMA never takes over another's."


class MigrationChanged(IkomaError):
    """A migration that was applied has been changed since."""

    code, status = "migration_changed", 409
    default_hint = "Restore the file as it was and put the change into a new migration."


class LedgerSpoiled(IkomaError):
    """The table ikoma.migrations is not as IKOMA made it, so nobody knows what was applied."""

    code, status = "ledger_spoiled", 409
    default_hint = (
        "A person at the server can undo with `ikoma psql` what was done to it, or restore a backup with "
        "`ikoma psql --admin`."
    )


class CannotRevert(IkomaError):
    """The database cannot go back that way."""

    code, status = "cannot_revert", 409
    default_hint = "Write a down-migration (NNN_name.down.sql), or restore a backup from before."
    default_next = (Next("db.status"),)


class SqlFailed(IkomaError):
    """PostgreSQL refused a statement, and nothing of this file was kept."""

    code, status = "sql_failed", 422
    default_hint = "Correct the statement that details names and call again: the transaction was rolled back."

    def __init__(self, message: str | None = None, **more: Any) -> None:
        super().__init__(message, **_lead_to_tables(more), **more)


class SqlStopped(SqlFailed):
    """A migration without a transaction stopped on its way, and what it did before stays."""

    code = "sql_stopped"
    default_hint = "Correct the statement that details names and call again: the file begins with its first statement."


class NotAQuery(IkomaError):
    """Only one statement that reads can be asked here."""

    code, status = "not_a_query", 422
    default_hint = "Send one SELECT, VALUES, TABLE, WITH, EXPLAIN or SHOW; db.migrate and db.seed write."


class QueryFailed(IkomaError):
    """PostgreSQL refused the query."""

    code, status = "query_failed", 422
    default_hint = "PostgreSQL's own words say why; correct the query and ask again. Nothing was changed."

    def __init__(self, message: str | None = None, **more: Any) -> None:
        super().__init__(message, **_lead_to_tables(more), **more)


class QueryTimeout(IkomaError):
    """The query took longer than it may."""

    code, status = "query_timeout", 422
    default_hint = "Raise `timeout` (60 seconds at most), or ask for less: EXPLAIN shows what takes long."


class QueryTooLarge(IkomaError):
    """A single row is larger than an answer may be."""

    code, status = "query_too_large", 422
    default_hint = "Name the columns you need, or take a part of long values: left(column, 1000)."


class BackupExists(IkomaError):
    """A backup of this name exists, and backups are never overwritten."""

    code, status = "backup_exists", 409
    default_hint = "Choose another `backupName`, or leave it out to get one with the time in it."
    default_next = (Next("db.backup"),)


class BackupFailed(IkomaError):
    """The backup failed and left no file."""

    code, status = "backup_failed", 500
    default_hint = "Check the free space under BACKUPS_ROOT and PostgreSQL's log."


class BackupUnproven(IkomaError):
    """A backup of the database cannot be restored, so nothing was stopped or changed."""

    code, status = "backup_unproven", 409
    default_hint = (
        "psql's own words say why; correct what they name. A file that was written is kept. Where what serves "
        "can live with the migrations, mark them `-- ikoma: compatible`: nothing is stopped then, and nothing restored."
    )


class BackupMissing(IkomaError):
    """There is no such backup."""

    code, status = "backup_missing", 404
    default_hint = "Look under BACKUPS_ROOT for what there is."


class BackupDamaged(IkomaError):
    """The backup is not what was written once, and was not restored."""

    code, status = "backup_damaged", 409
    default_hint = "Restore another backup; nothing was changed."


class TooManyDownloads(IkomaError):
    """A hundred downloads of backups are given out already."""

    code, status = "too_many_downloads", 429
    default_hint = "Each ends after an hour; use one that is there."


class BackupForeign(IkomaError):
    """This is not a backup of this app's database."""

    code, status = "backup_foreign", 409
    default_hint = "Choose a backup of this app; nothing was changed."


class SandboxMissing(IkomaError):
    """A dump that this server did not make would run outside of a sandbox, so it was not restored."""

    code, status = "sandbox_missing", 409
    default_hint = "Load it on another machine, and bring what `pg_dump --no-owner --no-privileges` makes there."


class TableMissing(IkomaError):
    """There is no such table."""

    code, status = "table_missing", 404
    default_hint = "db.status names those of the database; with `plan` db.restore shows those of the backup too."
    default_next = (Next("db.status"),)


class TablesDiffer(IkomaError):
    """A table cannot be restored alone: it is another one now."""

    code, status = "tables_differ", 409
    default_hint = "Restore the whole database: leave `tables` out. Nothing was changed."
    default_next = (Next("db.status"),)


class TablesUnmatched(IkomaError):
    """A foreign key would not hold if these tables alone were restored."""

    code, status = "tables_unmatched", 409
    default_hint = "Add the table that it names to `tables`. Nothing was changed."
    default_next = (Next("db.status"),)


class UndoMissing(IkomaError):
    """There is no copy of the database from before a restore."""

    code, status = "undo_missing", 404
    default_hint = "A copy is kept for a week after db.restore. Restore a backup instead."
    default_next = (Next("db.status"),)


class PointInTimeOff(IkomaError):
    """Going back to a point in time is not set up on this server."""

    code, status = "point_in_time_off", 409
    default_hint = (
        "Restore a backup: db.restore with `backupName`. POINT_IN_TIME=true in the server's settings sets it up for "
        "times after that. Nothing was changed."
    )
    default_next = (Next("db.status"),)


class TimeOutsideWindow(IkomaError):
    """The archive does not reach that moment."""

    code, status = "time_outside_window", 409
    default_hint = "db.status shows from when to when one can go back. Nothing was changed."
    default_next = (Next("db.status"),)


class ArchiveBroken(IkomaError):
    """A part of the archive is missing, so that moment cannot be recovered."""

    code, status = "archive_broken", 409
    default_hint = "Choose another time, or restore a backup: db.restore with `backupName`. Nothing was changed."
    default_next = (Next("db.status"),)


class ArchiveFailed(IkomaError):
    """PostgreSQL's log or a base backup does not come into the archive."""

    code, status = "archive_failed", 503
    default_hint = "platform.check says what is wrong with it. Nothing was changed."
    default_next = (Next("platform.check"),)


class RecoveryFailed(IkomaError):
    """PostgreSQL did not recover that moment."""

    code, status = "recovery_failed", 500
    default_hint = "Choose another time, or restore a backup: db.restore with `backupName`. Nothing was changed."
    default_next = (Next("db.status"),)


class RestoreFailed(IkomaError):
    """The restore failed, and the database is as it was."""

    code, status = "restore_failed", 500
    default_hint = "psql's own words say why; correct what they name, or restore another backup."


class DatabaseNotMoved(IkomaError):
    """A database that an app ran itself could not be brought here; it is as it was."""

    code, status = "database_not_moved", 409
    default_hint = "Call apps.import without `database`: the app keeps its own PostgreSQL then."


class SqlFileForeign(IkomaError):
    """The file is nothing that psql could run here."""

    code, status = "sql_file_foreign", 422
    default_hint = "Give SQL text, or a backup of this app."


def _lead_to_tables(known: Mapping[str, Any]) -> dict[str, Any]:
    """Where a table is named that is not there, lead to those that are; another mistake they do not explain."""
    return {"next": Next("db.status")} if known.get("sqlstate") == _NO_TABLE and "next" not in known else {}
