"""One reading statement as the app's own role, in a transaction that PostgreSQL itself keeps from writing.

What is read here of the text only tells its kind, for a better word. The boundary is the server: the extended
protocol takes one statement, the transaction is READ ONLY and never committed, and the session ends with it. A
session that outlives its time is ended by the admin, whatever the app's own functions catch.
"""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import psycopg
from psycopg import pq, waiting
from psycopg.abc import PQGen

from ikoma.errors import IkomaError, NotAQuery, QueryFailed, QueryTimeout, QueryTooLarge
from ikoma.ports.databases import Credentials, QueryRows
from ikoma.postgres.blockers import end_session
from ikoma.postgres.clients import results
from ikoma.postgres.clients.relay import Relay
from ikoma.postgres.connect import Connection, connected, is_lost, shorten_said
from ikoma.postgres.server.server import PostgresServer
from ikoma.postgres.sql import statements
from ikoma.postgres.sql.parser import find_excess, read
from ikoma.postgres.sql.statements import Statement

_AT_ONCE = 4
_TURN_SECONDS = 60.0
"""How long a query waits for others of its app, besides the time that it may take: as long as one of them may."""
_MOST_BYTES = 16 * results.MOST_BYTES
"""Limit of all that one session says: escaped text is shorter than in JSON, but rows have headers, and bytea is hex."""
_LONGEST = 1 << 20
"""Characters of a query."""
_GRACE_SECONDS = 1.0
_CURSOR = "DECLARE ikoma_query NO SCROLL CURSOR FOR "
_FIRST = re.compile(r"[\s(]*([A-Za-z]*)")
_BY_CURSOR = ("SELECT", "VALUES", "TABLE", "WITH")
_EXPLAIN = re.compile(r"EXPLAIN(?:\s*\([^()]*\)|(?:\s+(?:ANALYZE|ANALYSE|VERBOSE)\b)*)\s*", re.IGNORECASE)
_CANCELLED, _WRITES, _SYNTAX = "57014", "25006", "42601"


class Queries:
    """Queries of apps on one server; of one app only a few at once, so that it keeps its own sessions."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._turns: dict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(_AT_ONCE))
        self._ending: set[asyncio.Task[None]] = set()

    async def ask(self, credentials: Credentials, sql: str, *, limit: int, timeout: float) -> QueryRows:
        """Run the statement: at most `limit` rows, and no more than one answer holds.

        Raises:
            NotAQuery: it is not one statement that reads.
            QueryFailed: PostgreSQL refused it; details hold its words.
            QueryTimeout: it took longer than `timeout` seconds.
            QueryTooLarge: its first row alone is more than one answer holds.
        """
        with _told_as(f"The query took longer than {timeout:g} seconds."):
            async with asyncio.timeout(timeout + _GRACE_SECONDS):
                statement = await read(_require_one, sql)
        async with (
            self._turn(credentials.database),
            Relay(self._server.make_app_login(credentials), _MOST_BYTES) as relay,
            self._session(relay, credentials.role, timeout) as connection,
        ):
            with _told_as(f"The query took longer than {timeout:g} seconds."):
                async with asyncio.timeout(timeout + _GRACE_SECONDS):
                    return await _QuerySession(connection, relay, statement, sql).read_rows(limit)

    @asynccontextmanager
    async def _turn(self, database: str) -> AsyncIterator[None]:
        """Wait for one of the few places that queries of an app have. That is no part of their own time."""
        places = self._turns[database]
        with _told_as(
            f"The {_AT_ONCE} queries that an app may have at once had not ended after {_TURN_SECONDS:g} seconds.",
            "Try again when they have ended.",
        ):
            async with asyncio.timeout(_TURN_SECONDS):
                await places.acquire()
        try:
            yield
        finally:
            places.release()

    @asynccontextmanager
    async def _session(self, relay: Relay, role: str, timeout: float) -> AsyncIterator[Connection]:
        """A session in a transaction that cannot write. What still works in it at the end is ended."""
        milliseconds = int(timeout * 1000)
        begin = (
            "BEGIN READ ONLY;"
            f" SET LOCAL statement_timeout = {milliseconds};"
            f" SET LOCAL lock_timeout = {milliseconds};"
            f" SET LOCAL idle_in_transaction_session_timeout = {milliseconds + 5000}"
        )
        async with connected(relay.parameters) as connection:
            pid = connection.pgconn.backend_pid
            try:
                await connection.execute(begin.encode())
                yield connection
            finally:
                if relay.exhausted or connection.pgconn.transaction_status == pq.TransactionStatus.ACTIVE:
                    self._start_later(end_session(self._server, pid, role))

    def _start_later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def close(self) -> None:
        """Wait until sessions that are being ended have ended."""
        if self._ending:
            await asyncio.wait(self._ending)


@contextmanager
def _told_as(message: str, hint: str | None = None) -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        raise QueryTimeout(message, hint=hint) from None


class _QuerySession:
    """One statement in one session."""

    def __init__(self, connection: Connection, relay: Relay, statement: Statement, sql: str) -> None:
        self._connection = connection
        self._relay = relay
        self._statement = statement
        self._sql = sql
        # By the grammar, a cursor is for what reads. Also in EXPLAIN, which would create a table even in a READ ONLY
        # transaction.
        self._place = _place_of_query(statement.text)
        text = statement.text
        self._text = text if self._place is None else f"{text[: self._place]}{_CURSOR}{text[self._place :]}"

    async def read_rows(self, limit: int) -> QueryRows:
        if self._place != 0:
            found = await self._make_result(self._text, limit)
            return QueryRows(found.names, tuple(map(results.name_plain_type, found.kinds)), found.rows, found.cut)
        await self._make_result(self._text, 0)
        described = results.ResultSet()
        await self._wait(results.describe(self._connection.pgconn, b"ikoma_query", described), described)
        types = await self._name_types(described)
        found = await self._make_result(f"FETCH FORWARD {limit + 1} FROM ikoma_query", limit)
        return QueryRows(described.names, types, found.rows, found.cut)

    async def _name_types(self, described: results.ResultSet) -> tuple[str, ...]:
        kinds, modifiers = (",".join(map(str, numbers)) for numbers in (described.kinds, described.modifiers))
        query = (  # numbers only
            "SELECT pg_catalog.format_type(kind, modifier) FROM ROWS FROM"  # noqa: S608
            f" (pg_catalog.unnest('{{{kinds}}}'::pg_catalog.oid[]),"
            f" pg_catalog.unnest('{{{modifiers}}}'::pg_catalog.int4[])) AS t (kind, modifier)"
        )
        return tuple(str(row[0]) for row in (await self._make_result(query, 2000)).rows)

    async def _make_result(self, text: str, limit: int) -> results.ResultSet:
        found = results.ResultSet()
        await self._wait(results.receive(self._connection.pgconn, text.encode(), limit, found), found)
        return found

    async def _wait(self, receiving: PQGen[None], found: results.ResultSet) -> None:
        """Not psycopg's own waiting: when cancelled, that asks the server to cancel first, and waits for it."""
        try:
            await waiting.wait_async(receiving, self._connection.pgconn.socket, 0.2)
        except psycopg.Error as error:
            if self._relay.exhausted:
                if not found.rows:
                    raise QueryTooLarge from None
                found.cut = True
                return
            if error.sqlstate is None and is_lost(error, self._connection):
                raise
            raise self._make_refusal(error) from error

    def _make_refusal(self, error: psycopg.Error) -> IkomaError:
        state, diagnosis = error.sqlstate or "", error.diag
        message = shorten_said(diagnosis.message_primary) or "the query failed"
        if state == _CANCELLED:
            return QueryTimeout()
        if state == _SYNTAX and "multiple commands" in message:
            return NotAQuery("There is more than one statement.")
        if state == _SYNTAX and re.search(r'at or near "(INSERT|UPDATE|DELETE|MERGE|INTO)"', message, re.IGNORECASE):
            return NotAQuery("This statement writes.")
        details: dict[str, Any] = {
            "sqlstate": state,
            "line": self._find_line(diagnosis.statement_position),
            "detail": shorten_said(diagnosis.message_detail),
            "serverHint": shorten_said(diagnosis.message_hint),
        }
        return QueryFailed(
            f"{message}.",
            audit_message=f"PostgreSQL refused the query: SQLSTATE {state}.",
            hint="This only reads: write with db.migrate or db.seed." if state == _WRITES else None,
            **{key: value for key, value in details.items() if value is not None},
        )

    def _find_line(self, position: str | None) -> int | None:
        """The line of what was sent that the server complains of."""
        if position is None:
            return None
        offset = int(position) - 1
        if self._place is not None and offset > self._place:
            offset = max(offset - len(_CURSOR), self._place)
        return statements.find_line(self._sql, self._statement.start + offset)


def _require_one(sql: str) -> Statement:
    """The one statement, of a kind that reads."""
    if "\0" in sql:
        raise NotAQuery("There is a NUL character in it.", hint="Remove it: PostgreSQL takes none in SQL.")
    if len(sql) > _LONGEST:
        raise NotAQuery(f"It is longer than {_LONGEST >> 20} MiB.", hint="Put what it compares with into a table.")
    if found := find_excess(sql):
        offset, problem, hint = found
        raise NotAQuery(f"Line {statements.find_line(sql, offset)}: {problem}.", hint=hint)
    known = statements.split(sql) or statements.join_whole(sql)
    if len(known) != 1:
        raise NotAQuery("There is more than one statement." if known else "There is no statement.")
    _place_of_query(known[0].text)
    return known[0]


def _place_of_query(text: str) -> int | None:
    """The beginning of the query in the statement, behind EXPLAIN and its options; None for SHOW, which has none."""
    found = _EXPLAIN.match(text)
    place = found.end() if found else 0
    word = _FIRST.match(text, place)
    first = word[1].upper() if word else ""
    if first == "SHOW" and not found:
        return None
    if first not in _BY_CURSOR:
        raise NotAQuery(
            f"{first[:20] or 'This'} is not among the statements that {'are explained' if found else 'read'}."
        )
    return place
