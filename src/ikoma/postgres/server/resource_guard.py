"""Ends the session of an app that takes more memory, more locks, or longer for one statement, than an app may.

A role can set its own work_mem, and a query can ask for any amount: nothing in PostgreSQL bounds what one session
takes, and the one that takes all brings the others down with it. Without a free lock nobody can even log in, so the
session that looks is open from the start and keeps what locks it needs. Sessions of roles that IKOMA did not make are
left alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psutil
import psycopg

from ikoma.errors import DatabasesUnavailable
from ikoma.postgres.connect import Connection, connected
from ikoma.postgres.server import cluster
from ikoma.postgres.server.server import PostgresServer

log = logging.getLogger("ikoma.postgres")

_PAUSE = 2.0
_AGAIN = 0.1
_WARY_LOOKS = 600
"""After one that it ended, it looks often for a minute: whoever means it begins again at once."""

_SESSIONS = """
SELECT a.pid, coalesce(a.leader_pid, a.pid), a.usename::text, a.backend_start,
       CASE WHEN a.state = 'active' AND a.leader_pid IS NULL
            THEN extract(epoch FROM clock_timestamp() - a.query_start)::float8 ELSE 0 END,
       coalesce(l.locks, 0)
FROM pg_stat_activity AS a JOIN pg_roles AS r ON r.oid = a.usesysid
LEFT JOIN (SELECT pid, count(*) AS locks FROM pg_lock_status() GROUP BY pid) AS l ON l.pid = a.pid
WHERE NOT r.rolsuper AND shobj_description(r.oid, 'pg_authid') LIKE 'IKOMA app %'
"""
_FRESH = "SELECT pg_stat_clear_snapshot()"
_END = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s AND backend_start = %s"


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Bytes of one session with its parallel workers, seconds of one statement, and locks of all apps together."""

    memory: int
    seconds: float
    locks: int = cluster.LOCKS * 3 // 4


@dataclass(slots=True)
class _WatchedSession:
    pid: int
    role: str
    began: Any
    seconds: float
    memory: int
    locks: int


async def guard(server: PostgresServer, limits: SessionLimits, *, pause: float = _PAUSE) -> None:
    """Look every two seconds, until cancelled. A server that is away is waited for."""
    while True:
        try:
            # One transaction for good: the locks that the first look takes are there when all others are gone.
            async with connected(server.make_admin_login()) as connection, connection.transaction():
                wary = 0
                while True:
                    wary = _WARY_LOOKS if await look(connection, limits) else wary - 1
                    await asyncio.sleep(min(pause, _AGAIN) if wary > 0 else pause)
        except (DatabasesUnavailable, psycopg.Error):
            await asyncio.sleep(pause)


async def look(connection: Connection, limits: SessionLimits) -> int:
    """End the sessions that are beyond the limits now; how many."""
    await connection.execute(_FRESH)
    cursor = await connection.execute(_SESSIONS.encode())
    ended = 0
    for session, reason in _select_to_end(_list_sessions(await cursor.fetchall()), limits):
        await connection.execute(_END, (session.pid, session.began))
        log.warning("PostgreSQL: a session of %s (process %d) was ended: %s", session.role, session.pid, reason)
        ended += 1
    return ended


def _select_to_end(sessions: Sequence[_WatchedSession], limits: SessionLimits) -> Iterator[tuple[_WatchedSession, str]]:
    left = []
    for session in sessions:
        if reason := _explain_beyond(session, limits):
            yield session, reason
        else:
            left.append(session)
    yield from _select_with_most_locks(left, limits.locks)


def _select_with_most_locks(sessions: Sequence[_WatchedSession], most: int) -> Iterator[tuple[_WatchedSession, str]]:
    """Sessions of the role with the most locks first, its greatest first, until the others have no more than that."""
    held = sum(session.locks for session in sessions)
    of_role = Counter[str]()
    for session in sessions:
        of_role[session.role] += session.locks
    for session in sorted(sessions, key=lambda each: (of_role[each.role], each.locks), reverse=True):
        if held <= most:
            return
        held -= session.locks
        yield session, f"it held {session.locks} of {held + session.locks} locks, and all apps may hold {most}"


def _list_sessions(rows: Sequence[tuple[Any, ...]]) -> list[_WatchedSession]:
    """One for each client, with what its workers take."""
    found = {
        pid: _WatchedSession(pid, role, began, seconds, 0, 0)
        for pid, leader, role, began, seconds, _ in rows
        if pid == leader
    }
    for pid, leader, *_, locks in rows:
        if leader in found:
            found[leader].memory += _measure_memory(pid)
            found[leader].locks += locks
    return list(found.values())


def _measure_memory(pid: int) -> int:
    """Bytes that this process has for itself; what it shares with the others is the server's."""
    try:
        seen = psutil.Process(pid).memory_info()
    except psutil.Error:  # it has ended
        return 0
    return int(seen.rss - seen.shared)


def _explain_beyond(session: _WatchedSession, limits: SessionLimits) -> str | None:
    if session.memory > limits.memory:
        return f"it took {session.memory >> 20} MiB, of {limits.memory >> 20} (DB_SESSION_MEMORY_MB)"
    if session.seconds > limits.seconds:
        return f"one statement took {session.seconds / 60:.0f} minutes (DB_STATEMENT_MAX_MINUTES)"
    return None
