"""The migrations of state.db, by number. One that was released is never changed: what comes after it is a new one.

Each runs in a transaction of its own. It gets a bare connection, and ends no transaction (`executescript` would).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping

_TABLES = """
CREATE TABLE IF NOT EXISTS keys (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, hash TEXT NOT NULL UNIQUE, role INTEGER NOT NULL,
    apps TEXT NOT NULL, capabilities TEXT NOT NULL, read_only INTEGER NOT NULL,
    created_at TEXT NOT NULL, expires_at TEXT, revoked_at TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS operations (
    id TEXT PRIMARY KEY, capability TEXT NOT NULL, app TEXT, caller_id TEXT NOT NULL, caller TEXT NOT NULL,
    arguments TEXT NOT NULL, digest TEXT NOT NULL, idempotency_key TEXT, state TEXT NOT NULL, steps TEXT NOT NULL,
    result TEXT, failure TEXT, started_at TEXT NOT NULL, finished_at TEXT, process TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS operations_by_key ON operations (caller_id, idempotency_key)
    WHERE idempotency_key IS NOT NULL;
CREATE INDEX IF NOT EXISTS operations_by_time ON operations (started_at);
CREATE INDEX IF NOT EXISTS operations_running ON operations (app) WHERE state = 'running';
CREATE TABLE IF NOT EXISTS approvals (
    id TEXT PRIMARY KEY, capability TEXT NOT NULL, app TEXT, arguments TEXT NOT NULL, summary TEXT NOT NULL,
    digest TEXT NOT NULL, caller_id TEXT NOT NULL, caller TEXT NOT NULL, state TEXT NOT NULL,
    created_at TEXT NOT NULL, expires_at TEXT NOT NULL, decided_by TEXT, decided_at TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS approvals_by_call ON approvals (caller_id, digest);
CREATE TABLE IF NOT EXISTS waivers (
    id TEXT PRIMARY KEY, app TEXT NOT NULL, rule TEXT NOT NULL, reason TEXT NOT NULL, caller TEXT NOT NULL,
    created_at TEXT NOT NULL, expires_at TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS hook_marks (
    app TEXT NOT NULL, mark TEXT NOT NULL, forget_at INTEGER, PRIMARY KEY (app, mark)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS hook_deliveries (
    number INTEGER PRIMARY KEY AUTOINCREMENT, app TEXT NOT NULL, at TEXT NOT NULL, host TEXT NOT NULL,
    event TEXT NOT NULL, delivery TEXT NOT NULL, ref TEXT, pushed TEXT, code TEXT, reason TEXT, operation TEXT,
    status TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS hook_deliveries_of ON hook_deliveries (app, number)
"""
_ADDED = {
    "keys": {
        "needs_approval": "INTEGER NOT NULL DEFAULT 0",
        "rate": "INTEGER",
        "last_used_at": "TEXT",
        "previous_hash": "TEXT",
        "previous_until": "TEXT",
    },
    "approvals": {"decided_by_id": "TEXT"},
}
_EVENTS = """
CREATE TABLE events (
    number INTEGER PRIMARY KEY AUTOINCREMENT, origin TEXT NOT NULL, kind TEXT NOT NULL, severity TEXT NOT NULL,
    app TEXT, operation TEXT, capability TEXT, message TEXT NOT NULL, at TEXT NOT NULL
) STRICT
"""


_SCHEDULE_RUNS = """
CREATE TABLE schedule_runs (
    app TEXT NOT NULL, schedule TEXT NOT NULL, due TEXT NOT NULL, operation TEXT NOT NULL UNIQUE,
    began_at TEXT NOT NULL, ended_at TEXT, outcome TEXT NOT NULL, message TEXT, backup TEXT,
    late INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (app, schedule, due)
) STRICT
"""


def _make_tables(state: sqlite3.Connection) -> None:
    """Make all tables, or bring those up to date that a version without numbered migrations made."""
    for statement in _TABLES.split(";"):
        state.execute(statement)
    for table, columns in _ADDED.items():
        present = {row[1] for row in state.execute(f"PRAGMA table_info({table})")}
        for name, kind in columns.items():
            if name not in present:
                state.execute(f"ALTER TABLE {table} ADD COLUMN {name} {kind}")
    if state.execute("SELECT 1 FROM sqlite_schema WHERE name = 'hook_last'").fetchone():
        state.execute(
            "INSERT INTO hook_deliveries (app, at, host, event, delivery, reason, operation)"
            " SELECT app, at, '', event, delivery, reason, operation FROM hook_last"
        )
        state.execute("DROP TABLE hook_last")


def _add_events(state: sqlite3.Connection) -> None:
    """Make room for recent events, which other processes read."""
    state.execute(_EVENTS)


def _add_schedule_runs(state: sqlite3.Connection) -> None:
    """Make room for the runs of schedules."""
    state.execute(_SCHEDULE_RUNS)


MIGRATIONS: Mapping[int, Callable[[sqlite3.Connection], None]] = {
    1: _make_tables,
    2: _add_events,
    3: _add_schedule_runs,
}
