"""Migrations without a transaction: statement by statement, as the app's own role, and the ledger's entry at the end.

A run that fails or is killed leaves what it has done, and no entry: the next one begins with the first statement again,
which bears it. What a failed CREATE INDEX CONCURRENTLY or REINDEX leaves is an index that is written and never read; it
is dropped at once where the session is still there, and otherwise before that statement runs again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import psycopg
from psycopg import sql

from ikoma.errors import SqlFailed, SqlStopped
from ikoma.model import quote_name
from ikoma.ports.databases import Credentials, Migration
from ikoma.postgres.clients.relay import Relay
from ikoma.postgres.connect import Connection
from ikoma.postgres.lock_waits import LOCK_TIMEOUT
from ikoma.postgres.migrations import ledger
from ikoma.postgres.migrations.no_transaction import find_fault, lets_others_work
from ikoma.postgres.migrations.sending import entered, execute, limit, strip_mark
from ikoma.postgres.server.server import PostgresServer
from ikoma.postgres.sql import parser, statements
from ikoma.postgres.sql.statements import Statement

_PAUSE = 0.1
_KEPT = (
    "It ran without a transaction: what came before it in the file is done, and the next run begins with the first"
    " statement again, which then does nothing."
)
# What another session builds just now is not done yet, rather than left over.
_LEFT_OVER = """
SELECT n.nspname::pg_catalog.text, c.relname::pg_catalog.text
FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) i.indexrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE NOT i.indisvalid AND c.relkind OPERATOR(pg_catalog.=) 'i'
  AND (i.indrelid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(%(of)s)
    OR i.indrelid OPERATOR(pg_catalog.=) (SELECT o.indrelid FROM pg_catalog.pg_index AS o
      WHERE o.indexrelid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(%(of)s)))
  AND (c.relname OPERATOR(pg_catalog.=) %(name)s OR c.relname OPERATOR(pg_catalog.~) '_cc(new|old)[0-9]*$')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index AS p
    WHERE p.index_relid OPERATOR(pg_catalog.=) i.indexrelid)
"""


async def migrate(
    server: PostgresServer, credentials: Credentials, migration: Migration, timeout: float, lock_timeout: float
) -> bool:
    """Apply a file that is marked; False where it had been applied before.

    Raises:
        SqlFailed: nothing was begun.
        SqlStopped: a statement failed; those before it are done.
    """
    async with _begun(server, credentials, migration.name, timeout, lock_timeout) as (connection, relay):
        await connection.execute(ledger.MAKE.encode())
        async with connection.transaction():
            if await ledger.is_applied(connection, migration):
                return False
        await _run(connection, relay, migration, timeout, lock_timeout)
        await ledger.enter(connection, migration)
        return True


async def revert(
    server: PostgresServer, credentials: Credentials, name: str, down: Migration, timeout: float, lock_timeout: float
) -> None:
    """Undo the newest migration by a down-migration that is marked.

    Raises:
        CannotRevert, SqlFailed: nothing was begun.
        SqlStopped: a statement failed; those before it are done.
    """
    async with _begun(server, credentials, down.name, timeout, lock_timeout) as (connection, relay):
        async with connection.transaction():
            await ledger.refuse_all_but_the_newest(connection, name)
        await _run(connection, relay, down, timeout, lock_timeout)
        await ledger.leave(connection, name, down)


@asynccontextmanager
async def _begun(
    server: PostgresServer, credentials: Credentials, name: str, timeout: float, lock_timeout: float
) -> AsyncIterator[tuple[Connection, Relay]]:
    """A session in which no other run of migrations is at work."""
    async with entered(server, credentials, name) as (connection, relay):
        # Where this process ends, the server does not go on for as long as an index takes.
        await connection.execute("SET client_connection_check_interval = '1s'")
        await limit(connection, timeout=timeout, lock_timeout=lock_timeout, local=False)
        await _take_turn(connection, name, lock_timeout)
        yield connection, relay


async def _run(connection: Connection, relay: Relay, file: Migration, timeout: float, lock_timeout: float) -> None:
    text = strip_mark(file.sql)
    for statement, node in await parser.read(_read, file.name, text):
        patience = timeout if lets_others_work(node) else lock_timeout
        await limit(connection, timeout=timeout, lock_timeout=patience, local=False)
        await _drop_left_over(connection, node)
        try:
            await execute(connection, relay, file.name, text, only=statement)
        except SqlFailed as error:
            with suppress(psycopg.Error):  # else the next run does it
                await _drop_left_over(connection, node)
            raise _make_stopped(error) from error


def _read(name: str, text: str) -> list[tuple[Statement, Any]]:
    """Each statement with its node; SqlFailed for what cannot be read, or has no place here."""
    statements.check(name, text)
    found = []
    for statement in statements.split(text):
        node = (parser.parse_tree(statement.text) or (None,))[0]
        fault = find_fault(getattr(node, "stmt", None))
        if fault is not None:
            raise statements.make_refusal(name, statement, f"This statement {fault[0]}.", fault[1])
        found.append((statement, node.stmt))
    return found


def _make_stopped(error: SqlFailed) -> SqlStopped:
    advice = "Correct the statement that details names." if error.hint == error.default_hint else error.hint
    return SqlStopped(
        error.message, audit_message=error.audit_message, hint=f"{advice} {_KEPT}", next=error.next, **error.details
    )


async def _take_turn(connection: Connection, name: str, seconds: float) -> None:
    """Wait for another run, asking again and again: who waits inside a statement holds up an index that is built."""
    since = time.monotonic()
    while True:
        cursor = await connection.execute("SELECT pg_catalog.pg_try_advisory_lock(%s)", (ledger.LOCK,))
        if (row := await cursor.fetchone()) is not None and row[0]:
            return
        if time.monotonic() - since > seconds:
            raise SqlFailed(
                f"{quote_name(name)}: another run of migrations is not done yet.",
                hint="Wait for its end, then call again.",
                file=name,
                sqlstate=LOCK_TIMEOUT,
            )
        await asyncio.sleep(_PAUSE)


async def _drop_left_over(connection: Connection, node: Any) -> None:
    """Drop the invalid indexes that earlier runs of this statement have left."""
    if type(node).__name__ not in ("IndexStmt", "ReindexStmt"):
        return
    parts = [part for part in (node.relation.schemaname, node.relation.relname) if part]
    wanted = {"of": sql.Identifier(*parts).as_string(connection), "name": getattr(node, "idxname", None)}
    for schema, index in await (await connection.execute(_LEFT_OVER.encode(), wanted)).fetchall():
        drop = sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(sql.Identifier(schema, index))
        await connection.execute(drop)
