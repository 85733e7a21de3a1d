"""Sends SQL as the app's own role, and tells which statement of which file failed.

What is sent goes to the server as one message, which is what makes 20,000 statements quick. Results are thrown away as
they come.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg import pq
from psycopg.abc import PQGen
from psycopg.generators import fetch, send

from ikoma.errors import SqlFailed
from ikoma.model import quote_name
from ikoma.ports.databases import Credentials
from ikoma.postgres.blockers import noted
from ikoma.postgres.clients.relay import Relay
from ikoma.postgres.connect import Connection, connected, is_lost, shorten_said
from ikoma.postgres.lock_waits import LOCK_TIMEOUT
from ikoma.postgres.server.server import PostgresServer
from ikoma.postgres.sql import statements
from ikoma.postgres.sql.parser import read
from ikoma.postgres.sql.statements import Statement

_MOST_BYTES = 16 << 20
"""Limit of what the server says in one piece: a row, or an error."""
_ROLLED_BACK = "; nothing of the file was kept"
_COPYING = (pq.ExecStatus.COPY_IN, pq.ExecStatus.COPY_OUT, pq.ExecStatus.COPY_BOTH)


@asynccontextmanager
async def entered(
    server: PostgresServer, credentials: Credentials, name: str
) -> AsyncIterator[tuple[Connection, Relay]]:
    """A session as the app's role for a file of that name; what the server refuses in the block is SqlFailed."""
    async with (
        Relay(server.make_app_login(credentials), _MOST_BYTES) as relay,
        connected(relay.parameters) as connection,
        noted(server, connection.info.backend_pid) as blockers,
    ):
        try:
            yield connection, relay
        except psycopg.Error as error:
            if is_lost(error, connection):
                raise
            refused = _make_refusal(name, error)
            _name(blockers, refused)
            raise refused from error
        except SqlFailed as error:
            _name(blockers, error)
            raise


def strip_mark(sql: str) -> str:
    """The text without the mark that some editors put in front; psql leaves it out too."""
    return sql.removeprefix("\ufeff")


async def limit(connection: Connection, *, timeout: float, lock_timeout: float, local: bool = True) -> None:
    """Limit how long a statement, and a wait for a lock, may take: in the transaction alone, or in the session."""
    for setting, seconds in (("statement_timeout", timeout), ("lock_timeout", lock_timeout)):
        await connection.execute("SELECT set_config(%s, %s, %s)", (setting, str(int(seconds * 1000)), local))


async def execute(connection: Connection, relay: Relay, name: str, sql: str, *, only: Statement | None = None) -> None:
    """Run all statements of a file as one message, or only one of them, and know which one failed."""
    try:
        failed = await connection.wait(_send(connection.pgconn, relay, name, only.text if only else sql))
        if failed is not None:
            raise await read(_make_failure, name, sql, *failed, only)
        # What was deferred to the end is checked here, while it can still be told from a lost connection.
        if only is None:
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
            hint=f"A statement may have ended it, or PostgreSQL was restarted{'' if only else _ROLLED_BACK}.",
            file=name,
        ) from error


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


def _make_failure(name: str, sql: str, result: pq.abc.PGresult, number: int, only: Statement | None) -> SqlFailed:
    """The server's error with its place. A syntax error stops the whole file, so only its position tells."""

    def told(field: pq.DiagnosticField) -> str | None:
        value = result.error_field(field)
        return shorten_said(value.decode(errors="replace")) if value else None

    position = told(pq.DiagnosticField.STATEMENT_POSITION)
    known = statements.split(sql)
    if position is not None:
        offset = int(position) - 1 + (only.start if only else 0)
        statement, line = statements.find_at(known, offset), statements.find_line(sql, offset)
    else:
        statement = only or (known[number - 1] if number <= len(known) else None)
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
        audit_message=f"{quote_name(name)}, line {line}: {_name_condition(sqlstate)}.",
        hint=_EXTENSION_HINT if _is_of_extensions(sqlstate, message) else _HINTS.get(sqlstate),
        **{key: value for key, value in details.items() if key != "hint"},
        serverHint=details["hint"],
    )


def _make_refusal(name: str, error: psycopg.Error) -> SqlFailed:
    """An error outside the statements themselves: while waiting for another run, or when deferred checks ran."""
    sqlstate = error.sqlstate or ""
    return SqlFailed(
        f"{quote_name(name)}: {shorten_said(error.diag.message_primary) or 'PostgreSQL refused it'}.",
        audit_message=f"{quote_name(name)}: {_name_condition(sqlstate)}.",
        hint=_HINTS.get(sqlstate),
        file=name,
        sqlstate=sqlstate,
        detail=shorten_said(error.diag.message_detail),
    )


def _is_of_extensions(sqlstate: str, message: str) -> bool:
    """Whether an extension was asked for that an app may not make, or that is not there."""
    return sqlstate in ("42501", "0A000", "58P01", "22023") and "extension" in message


def _name_condition(sqlstate: str) -> str:
    try:
        return f"{psycopg.errors.lookup(sqlstate).__name__} ({sqlstate})"
    except KeyError:
        return f"SQLSTATE {sqlstate}"


def _name(blockers: list[str], error: SqlFailed) -> None:
    """Name in an error those that stood in the way, where it is of a lock that was not to be had."""
    if error.details.get("sqlstate") == LOCK_TIMEOUT and blockers:
        error.message = f"{error.message} In the way: {'; '.join(blockers)}."
        error.details["blockedBy"] = list(blockers)


_HINTS = {
    "55P03": "Another session holds a lock on it: end that, try again when it is idle, or raise `lockTimeout`.",
    "57014": "The statement took longer than `timeout` allows: raise it, or split the work.",
    "25001": "This statement cannot run in a transaction: begin a file of its own with `-- ikoma: no-transaction`.",
    "42501": "Migrations run as the app's own role, which owns its database's schema and nothing else.",
    "53100": "Make room on the disk of IKOMA_STATE, then try again: the transaction was rolled back.",
    "57P01": "The session was ended from outside, or by the file itself.",
}
_EXTENSION_HINT = (
    "An app may create what PostgreSQL trusts, where it is installed: citext, hstore, pg_trgm, unaccent, btree_gin,"
    " btree_gist, ltree, intarray, cube, seg, isn, fuzzystrmatch, tablefunc and a few more (docs/database.md)."
    " gen_random_uuid() and sha256() need none. Any other a person at the server creates with `ikoma psql --admin`."
)
