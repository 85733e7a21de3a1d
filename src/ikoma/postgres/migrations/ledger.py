"""The ledger of applied migrations: a table in the app's own database, which the app may do anything to.

So what it holds is read only where it is the table that IKOMA makes: nothing of the app's own runs then, and an answer
has a bound. Names of functions are written out, for the app also says where they are looked for.
"""

from __future__ import annotations

from typing import Any, LiteralString

import psycopg
from psycopg import sql

from ikoma.errors import CannotRevert, LedgerSpoiled, MigrationChanged, Next, SqlFailed
from ikoma.model import quote_name
from ikoma.ports.databases import Credentials, LedgerEntry, Migration
from ikoma.postgres.app_sessions import AppSessions
from ikoma.postgres.connect import Connection, is_lost, shorten_said

MAKE = """
CREATE SCHEMA IF NOT EXISTS ikoma;
CREATE TABLE IF NOT EXISTS ikoma.migrations (
    name text PRIMARY KEY,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
)
"""
LOCK = 7_234_011_502
"""Lock of the database, for whoever changes what the ledger says."""
_MOST = 10_000
_BEGIN = "BEGIN READ ONLY; SET LOCAL statement_timeout = '5s'; SET LOCAL lock_timeout = '4s'"
_FIND = "SELECT pg_catalog.to_regclass('ikoma.migrations')::pg_catalog.oid"
_LOOK = """
LOCK TABLE ONLY ikoma.migrations IN ACCESS SHARE MODE;
SELECT relkind, relrowsecurity FROM pg_catalog.pg_class WHERE oid OPERATOR(pg_catalog.=) {table};
SELECT attname::pg_catalog.text, atttypid FROM pg_catalog.pg_attribute
WHERE attrelid OPERATOR(pg_catalog.=) {table} AND attgenerated OPERATOR(pg_catalog.=) '' LIMIT 100
"""
_OURS = {("name", 25), ("checksum", 25), ("applied_at", 1184)}
_ENTRIES = f"""
SELECT pg_catalog.left(name, 255), pg_catalog.left(checksum, 64),
    pg_catalog.to_char(applied_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
FROM ONLY ikoma.migrations ORDER BY applied_at, name LIMIT {_MOST + 1}
"""  # noqa: S608 - a number


async def read_ledger(sessions: AppSessions, credentials: Credentials, *, fresh: bool = False) -> list[LedgerEntry]:
    """The migrations that were applied, in order.

    Args:
        fresh: by a new login, whatever session there is.

    Raises:
        LedgerSpoiled: the table is not IKOMA's, or cannot be read within five seconds.
    """
    return await sessions.ask(credentials, _read_ledger, fresh=fresh)


async def _read_ledger(connection: Connection) -> list[LedgerEntry]:
    try:
        begun = await connection.execute(f"{_BEGIN}; {_FIND}".encode(), prepare=False)
        while begun.nextset():
            pass
        return await _read_entries_of(connection, await begun.fetchall(), ends=True)
    except psycopg.Error as error:
        if is_lost(error, connection):
            raise
        raise LedgerSpoiled(
            f"ikoma.migrations cannot be read: {shorten_said(error.diag.message_primary)}.",
            audit_message=f"ikoma.migrations cannot be read: SQLSTATE {error.sqlstate}.",
        ) from error


async def read_entries(connection: Connection) -> list[LedgerEntry]:
    """The entries, read in a transaction that has begun."""
    return await _read_entries_of(connection, await _read_rows(connection, _FIND))


async def _read_entries_of(
    connection: Connection, found: list[tuple[Any, ...]], *, ends: bool = False
) -> list[LedgerEntry]:
    """The entries of the table that was found.

    Args:
        ends: whether the transaction, which only reads, ends with them: in the same message, for each takes its time.
    """
    ((table,),) = found
    if table is None:
        if ends:
            await connection.execute("ROLLBACK")
        return []
    seen = await connection.execute(sql.SQL(_LOOK).format(table=sql.Literal(table)), prepare=False)
    kinds, columns = [await seen.fetchall() for _ in range(2) if seen.nextset()]
    if kinds != [("r", False)] or not set(columns) >= _OURS:
        raise LedgerSpoiled
    entries = await _read_rows(connection, f"{_ENTRIES}; ROLLBACK" if ends else _ENTRIES)
    if len(entries) > _MOST:
        raise LedgerSpoiled(f"ikoma.migrations has more than {_MOST:,} rows.")
    return [LedgerEntry(str(name), str(checksum), str(when)) for name, checksum, when in entries]


async def is_applied(connection: Connection, migration: Migration) -> bool:
    """Whether it has an entry; MigrationChanged where that is of another content."""
    known = {entry.name: entry.checksum for entry in await read_entries(connection)}
    if known.get(migration.name, migration.checksum) != migration.checksum:
        raise MigrationChanged(
            f"{quote_name(migration.name)} was applied before, and has been changed since.",
            next=Next("files.history", {"path": f"migrations/{migration.name}"}),
        )
    return migration.name in known


async def refuse_all_but_the_newest(connection: Connection, name: str) -> None:
    """Raises CannotRevert where a migration is not the newest of the ledger, or not in it at all."""
    await connection.execute(MAKE.encode())
    known = [entry.name for entry in reversed(await read_entries(connection))]
    if name not in known:
        raise CannotRevert(
            f"{quote_name(name)} is not applied, so there is nothing to undo.", hint="db.status shows what is."
        )
    if name != known[0]:
        later = list(map(quote_name, known[: known.index(name)]))
        raise CannotRevert(
            f"{quote_name(name)} is not the newest migration: {', '.join(reversed(later))} came after it.",
            hint=f"Undo {', then '.join(later)} first.",
        )


async def enter(connection: Connection, migration: Migration) -> None:
    """Write the ledger's entry, whatever role or schema the file has left behind."""
    entry = "INSERT INTO ikoma.migrations (name, checksum) VALUES (%s, %s)"
    await _record(connection, migration.name, entry, (migration.name, migration.checksum))


async def leave(connection: Connection, name: str, down: Migration) -> None:
    """Take the entry of what was undone out of the ledger."""
    await _record(connection, down.name, "DELETE FROM ikoma.migrations WHERE name = %s", (name,))


async def _record(connection: Connection, file: str, change: LiteralString, values: tuple[str, ...]) -> None:
    problem = f"{quote_name(file)} changes IKOMA's ledger, or the role that writes it, so it could not be recorded."
    hint = "Leave the schema ikoma alone, and end with RESET ROLE where the file uses SET ROLE."
    try:
        cursor = await connection.execute(change, values)
    except psycopg.Error as error:
        if is_lost(error, connection):
            raise
        raise SqlFailed(problem, hint=hint, file=file, sqlstate=error.sqlstate) from error
    if cursor.rowcount != 1:
        raise SqlFailed(problem, hint=hint, file=file)


async def _read_rows(connection: Connection, query: str) -> list[tuple[Any, ...]]:
    cursor = await connection.execute(query.encode())
    return await cursor.fetchall()
