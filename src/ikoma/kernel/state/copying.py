"""A consistent copy of state.db while servers write to it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from ikoma.errors import DiskFull


def copy_state(database: Path, target: Path) -> None:
    """Copy the file as it is at one moment, by SQLite's own backup, and check the copy.

    Raises:
        sqlite3.DatabaseError: the copy is not sound.
        DiskFull
    """
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(target)) as copy:
        try:
            source.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # all of it in the one file
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
                raise
            raise DiskFull("There is no room for a copy of state.db.") from error
        check_state(copy)


def check_state(state: sqlite3.Connection) -> None:
    """Raises sqlite3.DatabaseError where the file is not sound."""
    found = [str(row[0]) for row in state.execute("PRAGMA integrity_check(1)")]
    if found != ["ok"]:
        raise sqlite3.DatabaseError(found[0])
