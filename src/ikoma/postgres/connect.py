"""Connections to PostgreSQL, and what their failures mean."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import psycopg

from ikoma.errors import DatabasesUnavailable, DiskFull

Connection = psycopg.AsyncConnection[tuple[Any, ...]]

_SECONDS = 10
"""A login takes milliseconds. A machine with far more to do than it can takes seconds for the process of one."""
_LONGEST_SAID = 8 << 10
_ENDED = ("FATAL: ", "server closed the connection", "connection to server was lost", "connection to server at ")
_AWAY = ("08", "57P", "53300")
_CHANGED = "Was the password changed? db.create gives an app's role its own again; IKOMA's is in POSTGRES_*."
_TAKEN = "Others have every connection: end sessions that nobody needs, or raise max_connections; then try again."
_SHUT_OUT = "Let a rule of its pg_hba.conf admit this role; copies of a database are named ikoma-stand-in-… there."
_HINTS = {
    "password authentication failed": _CHANGED,
    "too many": _TAKEN,
    "connection slots are reserved": _TAKEN,
    "pg_hba.conf": _SHUT_OUT,
}


async def connect(parameters: Mapping[str, Any]) -> Connection:
    """A connection in autocommit mode; DatabasesUnavailable, within ten seconds, where there is none to be had."""
    try:
        async with asyncio.timeout(_SECONDS):
            return await psycopg.AsyncConnection.connect(
                **parameters,
                autocommit=True,
                connect_timeout=_SECONDS - 1,
                application_name="ikoma",
                client_encoding="utf8",
            )
    except (psycopg.OperationalError, TimeoutError) as error:
        raise describe_unavailable(error) from error


@asynccontextmanager
async def connected(parameters: Mapping[str, Any]) -> AsyncIterator[Connection]:
    """A connection for the block; a server that goes away inside it is DatabasesUnavailable, a full disk DiskFull."""
    connection = await connect(parameters)
    try:
        yield connection
    except psycopg.Error as error:
        if is_lost(error, connection):
            raise describe_unavailable(error) from error
        if isinstance(error, psycopg.errors.DiskFull):
            raise describe_full() from error
        raise
    finally:
        await connection.close()


async def ask(connection: Connection, seconds: float) -> None:
    """Have the server answer something; psycopg.OperationalError where it does not in time.

    The socket is shut then: psycopg would first ask a server that hangs to cancel the query, and wait for that.
    """
    timer = asyncio.get_running_loop().call_later(seconds, _hang_up, connection)
    try:
        await connection.execute("SELECT 1")
    finally:
        timer.cancel()


def _hang_up(connection: Connection) -> None:
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as ours:
        ours.shutdown(socket.SHUT_RDWR)


def is_lost(error: psycopg.Error, connection: Connection) -> bool:
    """Whether the session has ended, rather than a statement in it failed."""
    return connection.closed or (error.sqlstate or "").startswith(_AWAY)


def shorten_said(text: str | None) -> str | None:
    """A server's words, of very many the first whole lines: what is cut inside of a secret is not known for one."""
    if text is None or len(text) <= _LONGEST_SAID:
        return text
    return f"{text[:_LONGEST_SAID].rpartition(chr(10))[0]} …[cut]".lstrip()


def describe_unavailable(error: BaseException | str) -> DatabasesUnavailable:
    """The failure in a person's words: the server's last word, without addresses or advice."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = next((line.split("FATAL:", 1)[1].strip() for line in lines if "FATAL:" in line), "")
    found = DatabasesUnavailable(
        f"PostgreSQL does not answer: {said}." if said else None,
        hint=next((hint for words, hint in _HINTS.items() if words in said), None),
    )
    found.shuts_out = "pg_hba.conf" in said
    return found


def describe_full() -> DiskFull:
    """The failure of a server that has no room for what it was asked to write."""
    return DiskFull(
        "The disk of the databases is full; what was begun is undone.",
        hint="Make room on the disk of IKOMA_STATE, then try again.",
    )


def find_outage(lines: Sequence[str]) -> DatabasesUnavailable | DiskFull | None:
    """Find in a program's words what is to blame where no statement is: its session has ended, or a disk is full."""
    text = "\n".join(lines)
    if any(os.strerror(code) in text for code in (errno.ENOSPC, errno.EDQUOT)):
        return describe_full()
    return describe_unavailable(text) if any(words in text for words in _ENDED) else None
