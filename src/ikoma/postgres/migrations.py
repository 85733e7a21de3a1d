"""Migrations and seeds: a file of SQL in one transaction, as the app's own role.

The whole file goes to the server as one message, which is what makes 20,000 statements quick; the ledger's entry is
in the same transaction, so a file is applied with its entry or not at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg import pq
from psycopg.generators import execute as send_and_fetch

from ikoma.errors import MigrationChanged, SqlFailed
from ikoma.ports import Credentials, LedgerEntry, Migration
from ikoma.postgres import statements
from ikoma.postgres.connect import Connection, connected
from ikoma.postgres.server import PostgresServer

_LEDGER = """
CREATE SCHEMA IF NOT EXISTS ikoma;
CREATE TABLE IF NOT EXISTS ikoma.migrations (
    name text PRIMARY KEY,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
)
"""
_LOCK = 7_234_011_502
_COPYING = (pq.ExecStatus.COPY_IN, pq.ExecStatus.COPY_OUT, pq.ExecStatus.COPY_BOTH)


async def ledger(server: PostgresServer, credentials: Credentials) -> list[LedgerEntry]:
    """What has been applied, in order."""
    async with connected(server.as_app(credentials)) as connection:
        cursor = await connection.execute("SELECT to_regclass('ikoma.migrations') IS NOT NULL")
        row = await cursor.fetchone()
        if not row or not row[0]:
            return []
        cursor = await connection.execute(
            "SELECT name, checksum, to_char(applied_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"
            " FROM ikoma.migrations ORDER BY applied_at, name"
        )
        return [LedgerEntry(str(name), str(checksum), str(when)) for name, checksum, when in await cursor.fetchall()]


async def migrate(
    server: PostgresServer, credentials: Credentials, migration: Migration, *, timeout: float, lock_timeout: float
) -> bool:
    """Apply a migration with its entry in the ledger; False where it had been applied before.

    Raises:
        MigrationChanged: it was applied with another content.
        SqlFailed: with file, line and statement; nothing of it is kept.
    """
    async with connected(server.as_app(credentials)) as connection, connection.transaction():
        await _prepare(connection, timeout=timeout, lock_timeout=lock_timeout)
        # Two runners at once: the second waits here, then finds the entry of the first.
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        await connection.execute(_LEDGER.encode())
        if await _applied(connection, migration):
            return False
        # The check reads the whole file; in a thread, so that the server goes on answering meanwhile.
        await asyncio.to_thread(statements.check, migration.name, migration.sql)
        await _run(connection, migration.name, migration.sql)
        await connection.execute(
            "INSERT INTO ikoma.migrations (name, checksum) VALUES (%s, %s)", (migration.name, migration.checksum)
        )
        return True


async def run_sql(server: PostgresServer, credentials: Credentials, name: str, sql: str, *, timeout: float) -> None:
    """Run a file of SQL in one transaction, leaving no entry."""
    await asyncio.to_thread(statements.check, name, sql)
    async with connected(server.as_app(credentials)) as connection, connection.transaction():
        await _prepare(connection, timeout=timeout, lock_timeout=10)
        await _run(connection, name, sql)


async def _prepare(connection: Connection, *, timeout: float, lock_timeout: float) -> None:
    settings = {"statement_timeout": timeout, "lock_timeout": lock_timeout}
    for name, seconds in settings.items():
        await connection.execute("SELECT set_config(%s, %s, true)", (name, str(int(seconds * 1000))))


async def _applied(connection: Connection, migration: Migration) -> bool:
    cursor = await connection.execute("SELECT checksum FROM ikoma.migrations WHERE name = %s", (migration.name,))
    row = await cursor.fetchone()
    if row is not None and row[0] != migration.checksum:
        raise MigrationChanged(f"{migration.name} was applied before, and has been changed since.")
    return row is not None


async def _run(connection: Connection, name: str, sql: str) -> None:
    """Run all statements as one message, and know which one failed."""
    if not sql.strip():
        return
    connection.pgconn.send_query(sql.encode())
    try:
        results: Sequence[pq.abc.PGresult] = await connection.wait(send_and_fetch(connection.pgconn))
    except psycopg.OperationalError as error:
        raise SqlFailed(
            f"{name}: the session was ended while the file ran.",
            hint="A statement may have ended it, or PostgreSQL was restarted; nothing of the file was kept.",
            file=name,
        ) from error
    for number, result in enumerate(results, 1):
        if result.status == pq.ExecStatus.FATAL_ERROR:
            raise _failure(name, sql, result, number)
        if result.status in _COPYING:
            raise SqlFailed(f"{name}: COPY cannot use the client here.", hint="Write INSERT statements.", file=name)


def _failure(name: str, sql: str, result: pq.abc.PGresult, number: int) -> SqlFailed:
    """The server's error with its place. A syntax error stops the whole file, so only its position tells."""

    def said(field: pq.DiagnosticField) -> str | None:
        value = result.error_field(field)
        return value.decode(errors="replace") if value else None

    position = said(pq.DiagnosticField.STATEMENT_POSITION)
    known = statements.split(sql)
    if position is not None:
        offset = int(position) - 1
        statement, line = statements.at(known, offset), statements.line_of(sql, offset)
    else:
        statement = known[number - 1] if number <= len(known) else None
        line = statement.line if statement else 1
    sqlstate = said(pq.DiagnosticField.SQLSTATE) or ""
    details: dict[str, Any] = {
        "file": name,
        "line": line,
        "statement": statement.number if statement else None,
        "sql": statement.shown if statement else None,
        "sqlstate": sqlstate,
        "detail": said(pq.DiagnosticField.MESSAGE_DETAIL),
        "hint": said(pq.DiagnosticField.MESSAGE_HINT),
    }
    message = said(pq.DiagnosticField.MESSAGE_PRIMARY) or "the statement failed"
    return SqlFailed(
        f"{name}, line {line}: {message}.",
        # The server's message quotes the statement's own values: the audit log gets the condition's name.
        audit_message=f"{name}, line {line}: {_condition(sqlstate)}.",
        hint=_HINTS.get(sqlstate),
        **details,
    )


def _condition(sqlstate: str) -> str:
    try:
        return f"{psycopg.errors.lookup(sqlstate).__name__} ({sqlstate})"
    except KeyError:
        return f"SQLSTATE {sqlstate}"


_HINTS = {
    "55P03": "Another session holds a lock on it: try again when it is idle, or raise lockTimeout.",
    "57014": "The statement took longer than timeout allows: raise it, or split the work.",
    "25001": "This statement cannot run in a transaction; run it with `ikoma psql`.",
    "42501": "Migrations run as the app's own role, which owns its database's schema and nothing else.",
    "57P01": "The session was ended from outside, or by the file itself; nothing of it was kept.",
}
