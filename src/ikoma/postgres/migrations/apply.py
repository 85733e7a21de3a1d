"""Migrations and seeds: a file of SQL in one transaction, as the app's own role.

The whole file goes to the server as one message, which is what makes 20,000 statements quick; the ledger's entry is
in the same transaction, so a file is applied with its entry, or undone with it, or nothing happens at all. Results are
thrown away as they come.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, LiteralString

import psycopg
from psycopg import pq
from psycopg.abc import PQGen
from psycopg.generators import fetch, send

from ikoma.errors import CannotRevert, MigrationChanged, Next, SqlFailed
from ikoma.model import quote_name
from ikoma.ports.databases import Credentials, Migration
from ikoma.postgres.clients.relay import Relay
from ikoma.postgres.connect import Connection, connected, is_lost, said
from ikoma.postgres.migrations import ledger
from ikoma.postgres.server.server import PostgresServer
from ikoma.postgres.sql import statements
from ikoma.postgres.sql.parser import read

_LOCK = 7_234_011_502
_MOST_BYTES = 16 << 20
"""Of what the server says in one piece: a row, or an error."""
_SEED_LOCK_SECONDS = 10.0
_COPYING = (pq.ExecStatus.COPY_IN, pq.ExecStatus.COPY_OUT, pq.ExecStatus.COPY_BOTH)


async def migrate(
    server: PostgresServer, credentials: Credentials, migration: Migration, *, timeout: float, lock_timeout: float
) -> bool:
    """Apply a migration with its entry in the ledger; False where it had been applied before.

    Raises:
        MigrationChanged: it was applied with another content.
        SqlFailed: with file, line and statement; nothing of it is kept.
    """
    name, text = migration.name, _text(migration.sql)
    async with _transaction(server, credentials, name, timeout=timeout, lock_timeout=lock_timeout) as (
        connection,
        relay,
    ):
        # Two runners at once: the second waits here, then finds the entry of the first.
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        await connection.execute(ledger.MAKE.encode())
        if await _applied(connection, migration):
            return False
        # The check reads the whole file; in a thread, so that the server goes on answering meanwhile.
        await read(statements.check, name, text)
        await _run(connection, relay, name, text)
        await _enter(connection, migration)
        return True


async def revert(
    server: PostgresServer,
    credentials: Credentials,
    name: str,
    down: Migration,
    *,
    timeout: float,
    lock_timeout: float,
) -> None:
    """Undo the newest migration by its down-migration, and take its entry out of the ledger.

    Raises:
        CannotRevert: it is not the newest of the ledger, or not in it at all.
        SqlFailed: with file, line and statement; nothing of it is kept.
    """
    text = _text(down.sql)
    begun = _transaction(server, credentials, down.name, timeout=timeout, lock_timeout=lock_timeout)
    async with begun as (connection, relay):
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        await _refuse_all_but_the_newest(connection, name)
        await read(statements.check, down.name, text)
        await _run(connection, relay, down.name, text)
        await _leave(connection, name, down)


async def run_sql(server: PostgresServer, credentials: Credentials, name: str, sql: str, *, timeout: float) -> None:
    """Run a file of SQL in one transaction, leaving no entry."""
    text = _text(sql)
    await read(statements.check, name, text)
    begun = _transaction(server, credentials, name, timeout=timeout, lock_timeout=_SEED_LOCK_SECONDS)
    async with begun as (connection, relay):
        await _run(connection, relay, name, text)


@asynccontextmanager
async def _transaction(
    server: PostgresServer, credentials: Credentials, name: str, *, timeout: float, lock_timeout: float
) -> AsyncIterator[tuple[Connection, Relay]]:
    """A transaction as the app's role; what the server refuses in it, or at its end, is SqlFailed."""
    async with (
        Relay(server.as_app(credentials), _MOST_BYTES) as relay,
        connected(relay.parameters) as connection,
    ):
        try:
            async with connection.transaction():
                for setting, seconds in (("statement_timeout", timeout), ("lock_timeout", lock_timeout)):
                    await connection.execute("SELECT set_config(%s, %s, true)", (setting, str(int(seconds * 1000))))
                yield connection, relay
        except psycopg.Error as error:
            if is_lost(error, connection):
                raise
            raise _refused(name, error) from error


async def _applied(connection: Connection, migration: Migration) -> bool:
    known = {entry.name: entry.checksum for entry in await ledger.read_entries(connection)}
    if known.get(migration.name, migration.checksum) != migration.checksum:
        raise MigrationChanged(
            f"{quote_name(migration.name)} was applied before, and has been changed since.",
            next=Next("files.history", {"path": f"migrations/{migration.name}"}),
        )
    return migration.name in known


async def _refuse_all_but_the_newest(connection: Connection, name: str) -> None:
    await connection.execute(ledger.MAKE.encode())
    known = [entry.name for entry in reversed(await ledger.read_entries(connection))]
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


async def _enter(connection: Connection, migration: Migration) -> None:
    """Write the ledger's entry, whatever role or schema the file has left behind."""
    entry = "INSERT INTO ikoma.migrations (name, checksum) VALUES (%s, %s)"
    await _record(connection, migration.name, entry, (migration.name, migration.checksum))


async def _leave(connection: Connection, name: str, down: Migration) -> None:
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


async def _run(connection: Connection, relay: Relay, name: str, sql: str) -> None:
    """Run all statements as one message, and know which one failed."""
    if not sql.strip():
        return
    try:
        failed = await connection.wait(_send(connection.pgconn, relay, name, sql))
        if failed is not None:
            raise await read(_failure, name, sql, *failed)
        # What was deferred to the end is checked here, while it can still be told from a lost connection.
        await connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    except psycopg.Error as error:
        if not is_lost(error, connection):
            raise
        if relay.exhausted:
            raise SqlFailed(
                f"{quote_name(name)}: a row or an error has more than {_MOST_BYTES >> 20} MiB.",
                hint="Nothing reads the rows of a file: leave the SELECT out, or take less.",
                file=name,
            ) from None
        raise SqlFailed(
            f"{quote_name(name)}: the session was ended while the file ran.",
            hint="A statement may have ended it, or PostgreSQL was restarted; nothing of the file was kept.",
            file=name,
        ) from error
    if connection.pgconn.transaction_status != pq.TransactionStatus.INTRANS:
        raise SqlFailed(f"{quote_name(name)} ended its transaction itself.", hint="Remove what does.", file=name)


def _send(pgconn: pq.abc.PGconn, relay: Relay, name: str, sql: str) -> PQGen[tuple[pq.abc.PGresult, int] | None]:
    """Send the file and go through its results, keeping none of them: a query may have any number of rows.

    Gives the failure, where there is one, and the number of its statement.
    """
    pgconn.send_query(sql.encode())
    pgconn.set_single_row_mode()  # any other holds many rows, each of which may be large
    yield from send(pgconn)
    number = 1
    failed: pq.abc.PGresult | None = None
    while (result := (yield from fetch(pgconn))) is not None:
        relay.renew()
        if result.status == pq.ExecStatus.FATAL_ERROR:
            failed = failed or result
        elif result.status in _COPYING:
            raise SqlFailed(
                f"{quote_name(name)}: COPY cannot use the client here.", hint="Write INSERT statements.", file=name
            )
        elif result.command_status:  # a piece of a statement's rows has none
            number += 1
    return None if failed is None else (failed, number)


def _failure(name: str, sql: str, result: pq.abc.PGresult, number: int) -> SqlFailed:
    """The server's error with its place. A syntax error stops the whole file, so only its position tells."""

    def told(field: pq.DiagnosticField) -> str | None:
        value = result.error_field(field)
        return said(value.decode(errors="replace")) if value else None

    position = told(pq.DiagnosticField.STATEMENT_POSITION)
    known = statements.split(sql)
    if position is not None:
        offset = int(position) - 1
        statement, line = statements.at(known, offset), statements.find_line(sql, offset)
    else:
        statement = known[number - 1] if number <= len(known) else None
        line = statement.line if statement else 1
    sqlstate = told(pq.DiagnosticField.SQLSTATE) or ""
    details: dict[str, Any] = {
        "file": name,
        "line": line,
        "statement": statement.number if statement else None,
        "sql": statement.shown if statement else None,
        "sqlstate": sqlstate,
        "detail": told(pq.DiagnosticField.MESSAGE_DETAIL),
        "hint": told(pq.DiagnosticField.MESSAGE_HINT),
    }
    message = told(pq.DiagnosticField.MESSAGE_PRIMARY) or "the statement failed"
    return SqlFailed(
        f"{quote_name(name)}, line {line}: {message}.",
        # The server's message quotes the statement's own values: the audit log gets the condition's name.
        audit_message=f"{quote_name(name)}, line {line}: {_condition(sqlstate)}.",
        hint=_EXTENSION_HINT if _is_of_extensions(sqlstate, message) else _HINTS.get(sqlstate),
        **{key: value for key, value in details.items() if key != "hint"},
        serverHint=details["hint"],
    )


def _refused(name: str, error: psycopg.Error) -> SqlFailed:
    """An error outside the statements themselves: while waiting for another run, or when deferred checks ran."""
    sqlstate = error.sqlstate or ""
    return SqlFailed(
        f"{quote_name(name)}: {said(error.diag.message_primary) or 'PostgreSQL refused it'}.",
        audit_message=f"{quote_name(name)}: {_condition(sqlstate)}.",
        hint=_HINTS.get(sqlstate),
        file=name,
        sqlstate=sqlstate,
        detail=said(error.diag.message_detail),
    )


def _is_of_extensions(sqlstate: str, message: str) -> bool:
    """Whether an extension was asked for that an app may not make, or that is not there."""
    return sqlstate in ("42501", "0A000", "58P01", "22023") and "extension" in message


def _condition(sqlstate: str) -> str:
    try:
        return f"{psycopg.errors.lookup(sqlstate).__name__} ({sqlstate})"
    except KeyError:
        return f"SQLSTATE {sqlstate}"


def _text(sql: str) -> str:
    """Without the mark that some editors put in front; psql leaves it out too."""
    return sql.removeprefix("\ufeff")


_HINTS = {
    "55P03": "Another session holds a lock on it: try again when it is idle, or raise `lockTimeout`.",
    "57014": "The statement took longer than `timeout` allows: raise it, or split the work.",
    "25001": "This statement cannot run in a transaction; a person at the server can run it with `ikoma psql`.",
    "42501": "Migrations run as the app's own role, which owns its database's schema and nothing else.",
    "57P01": "The session was ended from outside, or by the file itself; nothing of it was kept.",
}
_EXTENSION_HINT = (
    "An app may create what PostgreSQL trusts, where it is installed: citext, hstore, pg_trgm, unaccent, btree_gin,"
    " btree_gist, ltree, intarray, cube, seg, isn, fuzzystrmatch, tablefunc and a few more (docs/database.md)."
    " gen_random_uuid() and sha256() need none. Any other a person at the server creates with `ikoma psql --admin`."
)
