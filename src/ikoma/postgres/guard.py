"""Ends the session of an app that takes more memory, or longer for one statement, than an app may.

A role can set its own work_mem, and a query can ask for any amount: nothing in PostgreSQL bounds what one session
takes, and the one that takes all brings the others down with it. Sessions of roles that IKOMA did not make are left
alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psutil
import psycopg

from ikoma.errors import DatabasesUnavailable
from ikoma.postgres.connect import Connection, connected
from ikoma.postgres.server import PostgresServer

log = logging.getLogger("ikoma.postgres")

_PAUSE = 2.0

_SESSIONS = """
SELECT a.pid, coalesce(a.leader_pid, a.pid), a.usename::text, a.backend_start,
       CASE WHEN a.state = 'active' AND a.leader_pid IS NULL
            THEN extract(epoch FROM clock_timestamp() - a.query_start)::float8 ELSE 0 END
FROM pg_stat_activity AS a JOIN pg_roles AS r ON r.oid = a.usesysid
WHERE NOT r.rolsuper AND shobj_description(r.oid, 'pg_authid') LIKE 'IKOMA app %'
"""
_END = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s AND backend_start = %s"


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes of one session with its parallel workers, and seconds of one statement."""

    memory: int
    seconds: float


@dataclass(slots=True)
class _Session:
    pid: int
    role: str
    began: Any
    seconds: float
    memory: int


async def guard(server: PostgresServer, limits: Limits, *, pause: float = _PAUSE) -> None:
    """Look every two seconds, until cancelled. A server that is away is waited for."""
    while True:
        try:
            async with connected(server.admin()) as connection:
                while True:
                    await look(connection, limits)
                    await asyncio.sleep(pause)
        except (DatabasesUnavailable, psycopg.Error):
            await asyncio.sleep(pause)


async def look(connection: Connection, limits: Limits) -> None:
    """End the sessions that are beyond the limits now."""
    cursor = await connection.execute(_SESSIONS.encode())
    for session in _sessions(await cursor.fetchall()):
        if reason := _beyond(session, limits):
            await connection.execute(_END, (session.pid, session.began))
            log.warning("PostgreSQL: a session of %s (process %d) was ended: %s", session.role, session.pid, reason)


def _sessions(rows: Sequence[tuple[Any, ...]]) -> list[_Session]:
    """One for each client, with what its workers take."""
    found = {pid: _Session(pid, role, began, seconds, 0) for pid, leader, role, began, seconds in rows if pid == leader}
    for pid, leader, *_ in rows:
        if leader in found:
            found[leader].memory += _memory(pid)
    return list(found.values())


def _memory(pid: int) -> int:
    """Bytes that this process has for itself; what it shares with the others is the server's."""
    try:
        seen = psutil.Process(pid).memory_info()
    except psutil.Error:  # it has ended
        return 0
    return int(seen.rss - seen.shared)


def _beyond(session: _Session, limits: Limits) -> str | None:
    if session.memory > limits.memory:
        return f"it took {session.memory >> 20} MiB, of {limits.memory >> 20} (DB_SESSION_MEMORY_MB)"
    if session.seconds > limits.seconds:
        return f"one statement took {session.seconds / 60:.0f} minutes (DB_STATEMENT_MAX_MINUTES)"
    return None
