"""Migrations and seeds: a file of SQL in one transaction, as the app's own role.

The ledger's entry is in the same transaction, so a file is applied with its entry, or undone with it, or nothing
happens at all. A file that is marked `-- ikoma: no-transaction` is `stepwise`'s.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

from psycopg import pq

from ikoma.errors import SqlFailed
from ikoma.model import quote_name
from ikoma.ports.databases import Credentials, Migration
from ikoma.postgres.clients.relay import Relay
from ikoma.postgres.connect import Connection
from ikoma.postgres.lock_waits import retry_while_locked
from ikoma.postgres.migrations import ledger, stepwise
from ikoma.postgres.migrations.no_transaction import is_marked
from ikoma.postgres.migrations.sending import entered, execute, limit, strip_mark
from ikoma.postgres.server.server import PostgresServer
from ikoma.postgres.sql import statements
from ikoma.postgres.sql.parser import read

_SEED_LOCK_SECONDS = 10.0


async def migrate(
    server: PostgresServer, credentials: Credentials, migration: Migration, *, timeout: float, lock_timeout: float
) -> bool:
    """Apply a migration with its entry in the ledger; False where it had been applied before.

    Raises:
        MigrationChanged: it was applied with another content.
        SqlFailed: with file, line and statement; nothing of it is kept.
        SqlStopped: of one without a transaction; what came before is done.
    """
    once = stepwise.migrate if is_marked(migration.sql) else migrate_whole
    return await retry_while_locked(partial(once, server, credentials, migration, timeout, lock_timeout), lock_timeout)


async def migrate_whole(
    server: PostgresServer,
    credentials: Credentials,
    migration: Migration,
    timeout: float,
    lock_timeout: float,
    *,
    look: Callable[[Connection], Awaitable[None]] | None = None,
) -> bool:
    """Apply a file in one transaction, tried once.

    Args:
        look: called with the session just before the transaction ends.
    """
    name, text = migration.name, strip_mark(migration.sql)
    begun = _transaction(server, credentials, name, timeout=timeout, lock_timeout=lock_timeout)
    async with begun as (connection, relay):
        # Two runners at once: the second waits here, then finds the entry of the first.
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (ledger.LOCK,))
        await connection.execute(ledger.MAKE.encode())
        if await ledger.is_applied(connection, migration):
            return False
        # The check reads the whole file; in a thread, so that the server goes on answering meanwhile.
        await read(statements.check, name, text)
        await _run(connection, relay, name, text)
        await ledger.enter(connection, migration)
        if look is not None:
            await look(connection)
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
        SqlStopped: of a down-migration without a transaction; what came before is done.
    """
    once = stepwise.revert if is_marked(down.sql) else _revert
    await retry_while_locked(partial(once, server, credentials, name, down, timeout, lock_timeout), lock_timeout)


async def _revert(
    server: PostgresServer, credentials: Credentials, name: str, down: Migration, timeout: float, lock_timeout: float
) -> None:
    text = strip_mark(down.sql)
    begun = _transaction(server, credentials, down.name, timeout=timeout, lock_timeout=lock_timeout)
    async with begun as (connection, relay):
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (ledger.LOCK,))
        await ledger.refuse_all_but_the_newest(connection, name)
        await read(statements.check, down.name, text)
        await _run(connection, relay, down.name, text)
        await ledger.leave(connection, name, down)


async def run_sql(server: PostgresServer, credentials: Credentials, name: str, sql: str, *, timeout: float) -> None:
    """Run a file of SQL in one transaction, leaving no entry."""
    text = strip_mark(sql)
    await read(statements.check, name, text)
    begun = _transaction(server, credentials, name, timeout=timeout, lock_timeout=_SEED_LOCK_SECONDS)
    async with begun as (connection, relay):
        await _run(connection, relay, name, text)


@asynccontextmanager
async def _transaction(
    server: PostgresServer, credentials: Credentials, name: str, *, timeout: float, lock_timeout: float
) -> AsyncIterator[tuple[Connection, Relay]]:
    """A transaction as the app's role; what the server refuses in it, or at its end, is SqlFailed."""
    async with entered(server, credentials, name) as (connection, relay), connection.transaction():
        await limit(connection, timeout=timeout, lock_timeout=lock_timeout)
        yield connection, relay


async def _run(connection: Connection, relay: Relay, name: str, sql: str) -> None:
    """Run all statements, in the transaction that has begun and must not end."""
    if not sql.strip():
        return
    await execute(connection, relay, name, sql)
    if connection.pgconn.transaction_status != pq.TransactionStatus.INTRANS:
        raise SqlFailed(f"{quote_name(name)} ended its transaction itself.", hint="Remove what does.", file=name)
