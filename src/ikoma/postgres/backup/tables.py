"""Puts rows of some tables back into the live database, out of a copy of a backup that was restored beside.

One transaction as the app's own role does it: foreign keys of the tables are taken off, their triggers are silenced,
they are emptied and filled, and all of that is put on again, where PostgreSQL checks every foreign key anew. So a
failure, a kill or a cancelled call leaves every row as it was. What a session writes while the former rows are backed
up would be in neither: from before that on, who wants to write to these tables waits.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import psycopg
from psycopg import sql

from ikoma.errors import AppBusy, IkomaError, RestoreFailed, TablesUnmatched
from ikoma.model import AppName, quote_name
from ikoma.ports.databases import Credentials, RestoredTables
from ikoma.postgres import blockers
from ikoma.postgres.backup.row_counts import hold_snapshot
from ikoma.postgres.backup.table_shape import (
    OwnedSequence,
    TableForeignKey,
    TableShape,
    Trigger,
    pair_tables,
    read_foreign_keys,
    read_parts,
    read_sequences,
    read_tables,
    read_triggers,
)
from ikoma.postgres.connect import Connection, connected, is_lost, shorten_said
from ikoma.postgres.lock_waits import DEADLOCK, LOCK_TIMEOUT, retry_while_locked
from ikoma.postgres.server.server import PostgresServer

_LONGEST_WAIT = 10.0
_PAUSE = 0.1
_TRIES = 5
_UNMATCHED = "23503"
_AS_TEXT = (
    "SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL intervalstyle = 'postgres'; SET LOCAL extra_float_digits = 1;"
    "SET LOCAL bytea_output = 'hex'; SET LOCAL lc_monetary = 'C'; SET LOCAL xmloption = content;"
    "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0"
)
# Who has read one of the tables and now wants to write to it waits for us, and we would wait for it.
_END_ENTANGLED = """
SELECT pg_terminate_backend(s.pid) FROM pg_stat_activity AS s
WHERE s.usename = %(role)s AND %(pid)s = ANY(pg_blocking_pids(s.pid)) AND EXISTS (
    SELECT FROM pg_locks AS l WHERE l.pid = s.pid AND l.granted AND l.relation = ANY(%(tables)s)
)
"""
_STATUS = "SELECT pg_xact_status(%s::xid8)"
_FIRES = {"O": "ENABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}

Keep = Callable[[int, bool], Awaitable[None]]
"""Keeps what the tables hold; is given the number of the transaction, and whether they changed since they were kept."""


@dataclass(frozen=True, slots=True)
class _Surroundings:
    """All that hangs on the tables, and is taken off for the time in which they are filled."""

    foreign_keys: Sequence[TableForeignKey]
    triggers: Sequence[Trigger]
    sequences: Sequence[tuple[OwnedSequence, OwnedSequence]]
    """Pairs of the live database and of the copy."""
    shown: Mapping[int, str]
    parts: frozenset[int]

    @property
    def locked(self) -> list[int]:
        """All tables that nobody may look into meanwhile."""
        return sorted({*self.parts, *(oid for key in self.foreign_keys for oid in (key.source, key.target))})


async def check_tables(server: PostgresServer, database: str, place: str, names: Sequence[str]) -> None:
    """See that the tables are in both databases, and alike; TableMissing, TablesDiffer where not."""
    async with connected(server.make_admin_login(database)) as now, connected(server.make_admin_login(place)) as then:
        pair_tables(await read_tables(now), await read_tables(then), names)


async def restore_tables(
    server: PostgresServer,
    owned: Credentials,
    place: Credentials,
    names: Sequence[str],
    kept: Mapping[str, str],
    keep: Keep,
    lock_timeout: float,
) -> RestoredTables:
    """Let tables of the app's database equal those of a copy.

    Args:
        kept: the checksums of the tables when they were backed up, a moment ago.
        keep: called once nobody can write to the tables any more, and before anything is changed.
        lock_timeout: seconds for which it waits for who writes, four times; others go first in between.

    Raises:
        TableMissing, TablesDiffer, TablesUnmatched: the rows do not fit; nothing was changed.
        RestoreFailed, AppBusy: PostgreSQL refused a row, or a session does not end; nothing was changed.
    """

    async def once() -> RestoredTables:
        begun: list[int] = []

        async def keep_once(transaction: int, changed: bool) -> None:
            begun.append(transaction)
            await keep(transaction, changed)

        try:
            async with _transaction(server, owned, lock_timeout) as (live, session):
                return await _TableRestore(server, live, session, owned, place, names).run(kept, keep_once)
        except IkomaError as error:
            if begun:  # it is not tried again: writers have waited long enough
                error.details.pop("sqlstate", None)
            raise

    return await retry_while_locked(once, lock_timeout)


async def read_outcome(server: PostgresServer, transaction: int, patience: float = 30) -> str | None:
    """Whether a transaction was "committed" or "aborted"; None where PostgreSQL does not know any more."""
    deadline = time.monotonic() + patience
    async with connected(server.make_admin_login()) as connection:
        while True:
            row = await (await connection.execute(_STATUS, (str(transaction),))).fetchone()
            found = None if row is None or row[0] is None else str(row[0])
            if found != "in progress" or time.monotonic() > deadline:
                return found
            await asyncio.sleep(_PAUSE)


class _TableRestore:
    """One restore, inside of its transaction."""

    def __init__(
        self,
        server: PostgresServer,
        live: Connection,
        session: str,
        owned: Credentials,
        place: Credentials,
        names: Sequence[str],
    ) -> None:
        self._server = server
        self._live = live
        self._session = session
        self._owned = owned
        self._place = place
        self._names = names

    async def run(self, kept: Mapping[str, str], keep: Keep) -> RestoredTables:
        async with (
            connected(self._server.make_admin_login(self._owned.database)) as now,
            connected(self._server.make_admin_login(self._place.database)) as then,
            connected(self._server.make_app_login(self._place)) as copy,
        ):
            known = await read_tables(now)
            pairs = pair_tables(known, await read_tables(then), self._names)
            await self._close([live for live, _ in pairs])
            began = time.monotonic()
            # They may have been changed before nobody could any more.
            known = await read_tables(now)
            pairs = pair_tables(known, await read_tables(then), self._names)
            around = await _read_surroundings(now, then, known, pairs)
            row = await (await self._live.execute("SELECT pg_current_xact_id()::text")).fetchone()
            assert row is not None
            tables = [table for table in known if table.oid in around.parts and not table.is_partitioned]
            await keep(int(row[0]), not await self._are_as_kept(now, tables, kept))
            async with _cleared_way(self._server, self._live, self._session, self._owned.role, around.locked):
                await self._retry_on_deadlock(lambda: self._take_off(around, pairs))
            rows = await self._fill(copy, pairs)
            await self._put_on(around, pairs)
            await self._advance(copy, around.sequences)
        return RestoredTables(rows, time.monotonic() - began, transaction=int(row[0]))

    async def _close(self, tables: Sequence[TableShape]) -> None:
        """Let nobody write to the tables; who reads goes on."""
        targets = sql.SQL(", ").join(_name_only(table) for table in tables)
        await self._live.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(targets))
        await self._live.execute("SELECT set_config('lock_timeout', %s, true)", (f"{int(_LONGEST_WAIT)}s",))

    async def _are_as_kept(self, now: Connection, tables: Sequence[TableShape], kept: Mapping[str, str]) -> bool:
        async with hold_snapshot(now, AppName(self._owned.role)) as snapshot:
            wanted = {table.shown for table in tables}
            for table in snapshot.tables:
                if table.shown in wanted:
                    found = await snapshot.read(table)
                    if found is None or found.checksum is None or found.checksum != kept.get(table.shown):
                        return False
        return True

    async def _retry_on_deadlock(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do what takes locks anew where PostgreSQL has ended it for another's sake; what is held already stays."""
        for _ in range(_TRIES - 1):
            try:
                async with self._live.transaction():  # a savepoint
                    return await work()
            except psycopg.errors.DeadlockDetected:
                await asyncio.sleep(_PAUSE)
        return await work()

    async def _take_off(self, around: _Surroundings, pairs: Sequence[tuple[TableShape, TableShape]]) -> None:
        for key in around.foreign_keys:
            drop = sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(key.relation, sql.Identifier(key.name))
            await self._live.execute(drop)
        for trigger in around.triggers:
            await self._switch(trigger, "DISABLE")
        for live, _ in pairs:
            if live.hides_rows:
                await self._live.execute(sql.SQL("ALTER TABLE {} NO FORCE ROW LEVEL SECURITY").format(live.relation))
        targets = sql.SQL(", ").join(_name_only(live) for live, _ in pairs)
        await self._live.execute(sql.SQL("TRUNCATE {}").format(targets))

    async def _fill(self, copy: Connection, pairs: Sequence[tuple[TableShape, TableShape]]) -> dict[str, int]:
        rows = {}
        async with copy.transaction():
            await copy.execute(_AS_TEXT)
            for live, kept in pairs:
                if kept.hides_rows:
                    await copy.execute(sql.SQL("ALTER TABLE {} NO FORCE ROW LEVEL SECURITY").format(kept.relation))
                rows[live.shown] = await self._copy(copy, live, kept)
        # What was deferred is looked at now: nothing can be put on again before that.
        await self._live.execute("SET CONSTRAINTS ALL IMMEDIATE")
        return rows

    async def _copy(self, copy: Connection, live: TableShape, kept: TableShape) -> int:
        columns = sql.SQL(", ").join(sql.Identifier(name) for name in live.columns)
        out = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT").format(columns, _name_only(kept))
        into = sql.SQL("COPY {} {} FROM STDIN").format(
            live.relation, sql.SQL("({})").format(columns) if live.columns else sql.SQL("")
        )
        reading, writing = copy.cursor(), self._live.cursor()
        async with reading.copy(out) as source, writing.copy(into) as target:
            async for piece in source:
                await target.write(piece)
        return writing.rowcount

    async def _put_on(self, around: _Surroundings, pairs: Sequence[tuple[TableShape, TableShape]]) -> None:
        for key in around.foreign_keys:
            await self._add(key, around)
        for trigger in around.triggers:
            await self._switch(trigger, _FIRES[trigger.fires])
        for live, _ in pairs:
            if live.hides_rows:
                await self._live.execute(sql.SQL("ALTER TABLE {} FORCE ROW LEVEL SECURITY").format(live.relation))

    async def _add(self, key: TableForeignKey, around: _Surroundings) -> None:
        name = sql.Identifier(key.name)
        definition = sql.SQL(key.definition)  # as PostgreSQL itself writes it
        try:
            await self._live.execute(
                sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {}").format(key.relation, name, definition)
            )
        except psycopg.errors.ForeignKeyViolation as error:
            raise _explain(key, around) from error
        if key.comment is not None:
            comment = sql.SQL("COMMENT ON CONSTRAINT {} ON {} IS {}")
            await self._live.execute(comment.format(name, key.relation, sql.Literal(key.comment)))

    async def _switch(self, trigger: Trigger, how: str) -> None:
        # Partitions have theirs in the list themselves.
        change = sql.SQL("ALTER TABLE ONLY {} {} TRIGGER {}")
        await self._live.execute(change.format(trigger.relation, sql.SQL(how), sql.Identifier(trigger.name)))

    async def _advance(self, copy: Connection, sequences: Sequence[tuple[OwnedSequence, OwnedSequence]]) -> None:
        """Let sequences be at least where the backup has them.

        They never go back: numbers that were given since may stand elsewhere. What is set here is not undone by a
        rollback, and would only leave a gap.
        """
        for live, kept in sequences:
            query = sql.SQL("SELECT last_value, is_called FROM {}").format(kept.relation)
            row = await (await copy.execute(query)).fetchone()
            assert row is not None
            forward = sql.SQL(">" if live.ascends else "<")
            advance = sql.SQL(
                "SELECT pg_catalog.setval({}::regclass, %(last)s, %(called)s) FROM {}"
                " WHERE %(last)s {} last_value OR (%(last)s = last_value AND %(called)s AND NOT is_called)"
            ).format(sql.Literal(live.relation.as_string(self._live)), live.relation, forward)
            await self._live.execute(advance, {"last": row[0], "called": row[1]})


async def _read_surroundings(
    now: Connection, then: Connection, known: Sequence[TableShape], pairs: Sequence[tuple[TableShape, TableShape]]
) -> _Surroundings:
    parts = await read_parts(now, [live for live, _ in pairs])
    theirs = {kept.oid: live.oid for live, kept in pairs}
    copies = {
        (theirs[item.table], item.column): item for item in await read_sequences(then, [kept for _, kept in pairs])
    }
    own = await read_sequences(now, [live for live, _ in pairs])
    return _Surroundings(
        foreign_keys=await read_foreign_keys(now, parts),
        triggers=await read_triggers(now, parts),
        sequences=[(item, copies[item.table, item.column]) for item in own if (item.table, item.column) in copies],
        shown={table.oid: table.root or table.shown for table in known},
        parts=frozenset(parts),
    )


def _name_only(table: TableShape) -> sql.Composable:
    """The table without those that inherit from it; of a partitioned one, with its partitions."""
    return table.relation if table.is_partitioned else sql.SQL("ONLY {}").format(table.relation)


def _explain(key: TableForeignKey, around: _Surroundings) -> TablesUnmatched:
    """The table that has to come along; rows are not quoted."""
    source, target = (quote_name(around.shown.get(oid, str(oid))) for oid in (key.source, key.target))
    wanted = source if key.target in around.parts and key.source not in around.parts else target
    return TablesUnmatched(
        f"Rows of {source} would refer to rows that {target} does not have then (foreign key {quote_name(key.name)}).",
        hint=f"Add {wanted} to `tables`. Nothing was changed.",
    )


@asynccontextmanager
async def _transaction(
    server: PostgresServer, owned: Credentials, lock_timeout: float
) -> AsyncIterator[tuple[Connection, str]]:
    """A transaction as the app's role, and the name of its session; what is refused is an IkomaError."""
    session = f"ikoma tables {secrets.token_hex(6)}"
    async with (
        connected(server.make_app_login(owned)) as connection,
        blockers.noted(server, connection.info.backend_pid) as in_the_way,
    ):
        try:
            await connection.execute("SELECT set_config('application_name', %s, false)", (session,))
            async with connection.transaction():
                await connection.execute(_AS_TEXT)
                await connection.execute(
                    "SELECT set_config('lock_timeout', %s, true)", (f"{int(lock_timeout * 1000)}ms",)
                )
                yield connection, session
        except psycopg.Error as error:
            if is_lost(error, connection) or isinstance(error, psycopg.errors.DiskFull):
                raise
            raise _refuse(error, in_the_way) from error


def _refuse(error: psycopg.Error, in_the_way: Sequence[str]) -> IkomaError:
    state = error.sqlstate or ""
    if state in (LOCK_TIMEOUT, DEADLOCK):
        more = f" In the way: {'; '.join(in_the_way)}." if in_the_way else ""
        return AppBusy(
            f"A session keeps one of the tables locked, so nothing was changed.{more}",
            hint="End it, or try again when it is idle.",
            sqlstate=state,
        )
    return RestoreFailed(
        "The tables could not be restored, and are as they were: "
        f"{shorten_said(error.diag.message_primary) or 'refused'}.",
        audit_message=f"The tables could not be restored ({state}), and are as they were.",
        sqlstate=state,
    )


@asynccontextmanager
async def _cleared_way(
    server: PostgresServer, live: Connection, session: str, role: str, tables: Sequence[int]
) -> AsyncIterator[None]:
    """For the block, end sessions of the app that stand in the way for three seconds, or would never get out of it."""
    async with connected(server.make_admin_login()) as connection:
        clearing = asyncio.ensure_future(_clear(connection, live.info.backend_pid, session, role, tables))
        try:
            yield
        finally:
            clearing.cancel()
            await asyncio.wait([clearing])


async def _clear(connection: Connection, pid: int, session: str, role: str, tables: Sequence[int]) -> None:
    with suppress(psycopg.Error):
        while True:
            await connection.execute(_END_ENTANGLED, {"pid": pid, "role": role, "tables": list(tables)})
            await blockers.end(connection, session, role)
            await asyncio.sleep(_PAUSE)
