"""state.db: the SQLite file of the control plane's own records, shared by every process of it."""

from __future__ import annotations

import sqlite3
from pathlib import Path


def connect(database: Path, schema: str) -> sqlite3.Connection:
    """A connection in autocommit, with the tables of this schema made where they are absent.

    Connections may be used from several threads in turn; other processes may use the file at the same time.
    """
    connection = sqlite3.connect(database, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA busy_timeout = 5000")
    connection.executescript(schema)
    return connection
