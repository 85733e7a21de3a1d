"""state.db: the SQLite file of the control plane's own records, shared by every process of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ikoma.errors import DiskFull

_UNWRITABLE = frozenset(
    {
        *(sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY),
        *(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED),
    }
)


class Connection(sqlite3.Connection):
    """A connection whose statements raise DiskFull where the file cannot be written."""

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        with _told():
            return super().execute(sql, parameters)

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> sqlite3.Cursor:
        with _told():
            return super().executemany(sql, parameters)

    def executescript(self, sql: str, /) -> sqlite3.Cursor:
        with _told():
            return super().executescript(sql)

    def commit(self) -> None:
        with _told():
            super().commit()

    def __exit__(self, *raised: Any) -> Any:
        with _told():
            return super().__exit__(*raised)


def connect(database: Path, schema: str) -> Connection:
    """A connection in autocommit, with the tables of this schema made where they are absent.

    Connections may be used from several threads in turn; other processes may use the file at the same time.
    """
    connection = sqlite3.connect(database, isolation_level=None, check_same_thread=False, factory=Connection)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA busy_timeout = 5000")
    connection.executescript(schema)
    return connection


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _UNWRITABLE:  # the upper bits say more of the same
            raise
        raise DiskFull(f"state.db cannot be written ({error}).") from error
