"""Applies a migration to a copy of the database that nobody else enters, and tells what it does there.

Locks and rows are read in its own transaction, just before that ends; files of tables before and after it.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field

from ikoma.ports.databases import Credentials, Migration, MigrationRehearsal
from ikoma.postgres.connect import Connection, connected
from ikoma.postgres.migrations import stepwise
from ikoma.postgres.migrations.apply import migrate_whole
from ikoma.postgres.migrations.lint import lint
from ikoma.postgres.migrations.locks import Lock, TableLock, merge
from ikoma.postgres.migrations.no_transaction import is_marked
from ikoma.postgres.server.server import PostgresServer
from ikoma.postgres.sql.parser import read

_LOCK_SECONDS = 10.0
_TABLES = """
SELECT c.oid, CASE WHEN n.nspname = 'public' THEN c.relname::text ELSE concat(n.nspname, '.', c.relname) END,
    CASE WHEN c.relkind IN ('r', 'm') AND pg_relation_size(c.oid) > 0 THEN c.relfilenode ELSE 0 END
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm', 'v', 'f') AND n.nspname NOT IN ('information_schema', 'ikoma')
  AND NOT starts_with(n.nspname, 'pg_')
"""
_LOCKS = "SELECT relation, mode FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation' AND granted"
_ROWS = "SELECT relid, n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_xact_user_tables"


@dataclass(frozen=True, slots=True)
class _Table:
    name: str
    file: int
    """Number of the file of its rows; 0 where it has none."""


@dataclass(slots=True)
class _Traces:
    """The effects of a transaction until now, by the numbers of tables."""

    locks: list[tuple[int, str]] = field(default_factory=list)
    rows: dict[int, int] = field(default_factory=dict)

    async def look(self, connection: Connection) -> None:
        # Functions and operators are PostgreSQL's own then, whatever the app calls so; the transaction ends with this.
        await connection.execute("SET LOCAL search_path = pg_catalog")
        self.locks = [(table, mode) for table, mode in await (await connection.execute(_LOCKS)).fetchall()]
        self.rows = {table: count for table, count in await (await connection.execute(_ROWS)).fetchall() if count}


async def rehearse(
    server: PostgresServer, place: Credentials, migration: Migration, timeout: float
) -> MigrationRehearsal | None:
    """Apply a migration to a copy; None where that has it.

    Raises:
        MigrationChanged, SqlFailed: as `migrate` would.
    """
    before, traces = await _list_tables(server, place), _Traces()
    began = time.monotonic()
    if is_marked(migration.sql):
        applied = await stepwise.migrate(server, place, migration, timeout, _LOCK_SECONDS)
    else:
        applied = await migrate_whole(server, place, migration, timeout, _LOCK_SECONDS, look=traces.look)
    seconds = time.monotonic() - began
    if not applied:
        return None
    after = await _list_tables(server, place)
    changed = {table for table, known in before.items() if table in after and after[table].file not in (known.file, 0)}
    locks = (
        # They were let go of on the way.
        (await read(lint, migration.sql)).locks
        if is_marked(migration.sql)
        else merge(
            TableLock(before[table].name, lock, rewritten=table in changed)
            for table, mode in traces.locks
            if table in before and (lock := _parse(mode)) is not None
        )
    )
    names = {**before, **after}
    rows = {names[table].name: count for table, count in traces.rows.items() if table in names}
    rewritten = sorted(before[table].name for table in changed)
    return MigrationRehearsal(migration.name, seconds, tuple(map(str, locks)), rows, tuple(rewritten))


async def _list_tables(server: PostgresServer, place: Credentials) -> dict[int, _Table]:
    async with connected(server.make_admin_login(place.database)) as connection:
        rows = await (await connection.execute(_TABLES)).fetchall()
    return {table: _Table(name, file) for table, name, file in rows}


def _parse(mode: str) -> Lock | None:
    """PostgreSQL's word for a lock, such as AccessExclusiveLock; None for the weakest."""
    return Lock.__members__.get(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", mode.removesuffix("Lock")).upper())
