"""Sessions of apps that IKOMA's own work would wait for: they hold a lock, or do not end by themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import psycopg

from ikoma.errors import DatabasesUnavailable
from ikoma.postgres.connect import Connection, connected
from ikoma.postgres.server.server import PostgresServer

_PAUSE = 0.5
_PATIENCE = 10.0
_FIRST_LOOK = 0.2
"""Most of what is looked at is done by then."""

_BLOCKERS = """
SELECT DISTINCT blocker.pid, blocker.usename::text, blocker.application_name
FROM pg_stat_activity AS waiting
JOIN pg_locks AS awaited ON awaited.pid = waiting.pid AND NOT awaited.granted
CROSS JOIN unnest(pg_blocking_pids(waiting.pid)) AS blocking (pid)
JOIN pg_stat_activity AS blocker ON blocker.pid = blocking.pid
WHERE waiting.application_name = %(session)s
  AND awaited.waitstart < clock_timestamp() - make_interval(secs => %(seconds)s)
"""
# Of what it runs only the first word is told: the rest may hold anything.
_IN_THE_WAY = """
SELECT CASE WHEN blocking.pid = 0 THEN 'a prepared transaction' ELSE concat(
    'process ', blocking.pid, ' of ', coalesce(s.usename::text, s.backend_type, 'another role'),
    CASE WHEN s.application_name <> '' THEN concat(' (', left(s.application_name, 60), ')') END,
    CASE WHEN s.state IS NOT NULL THEN concat(', ', s.state, ' for ',
        round(extract(epoch FROM clock_timestamp() - s.state_change)), ' s') END,
    ', ' || nullif(upper(substring(s.query FROM '^[[:space:]]*([A-Za-z]{1,20})')), '')) END
FROM unnest(pg_blocking_pids(%s)) AS blocking (pid) LEFT JOIN pg_stat_activity AS s USING (pid)
"""
_END_BLOCKERS = f"SELECT pg_terminate_backend(pid) FROM ({_BLOCKERS}) AS b WHERE usename = %(role)s"  # noqa: S608 - constants
_END = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s AND usename = %s"
_END_OWN = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s AND usename = current_user"
)


async def end(connection: Connection, session: str, role: str) -> None:
    """End this role's sessions that the session of that application name has waited for, for three seconds."""
    await connection.execute(_END_BLOCKERS.encode(), {"session": session, "role": role, "seconds": 3})


@asynccontextmanager
async def watched(
    server: PostgresServer, session: str, role: str, *, terminate_blockers: bool
) -> AsyncIterator[list[str]]:
    """For the block, let the session of that application name wait for no lock longer than ten seconds: it is ended.

    Args:
        terminate_blockers: end what stands in its way before, where that is of this role.

    Yields:
        Who stood in the way when it was ended; empty while it was not.
    """
    blockers: list[str] = []
    watching = asyncio.ensure_future(_watch(server, session, role, blockers, terminate_blockers=terminate_blockers))
    try:
        yield blockers
    finally:
        watching.cancel()
        await asyncio.wait([watching])


@asynccontextmanager
async def noted(server: PostgresServer, pid: int) -> AsyncIterator[list[str]]:
    """For the block, look whom the session of that process waits for.

    Yields:
        Those that were in its way when it last waited: process, role, what it does, for how long.
    """
    blockers: list[str] = []
    looking = asyncio.ensure_future(_note(server, pid, blockers))
    try:
        yield blockers
    finally:
        looking.cancel()
        await asyncio.wait([looking])


async def _note(server: PostgresServer, pid: int, blockers: list[str]) -> None:
    await asyncio.sleep(_FIRST_LOOK)
    with suppress(DatabasesUnavailable, psycopg.Error):
        async with connected(server.make_admin_login()) as connection:
            while True:
                cursor = await connection.execute(_IN_THE_WAY, (pid,))
                if found := [str(line) for (line,) in await cursor.fetchall()]:
                    blockers[:] = dict.fromkeys(found)
                await asyncio.sleep(_PAUSE)


@asynccontextmanager
async def ended_after(server: PostgresServer, connection: Connection, seconds: float) -> AsyncIterator[None]:
    """End this session of an app's role where the block takes longer: code of the app can catch what cancels it."""
    ending = asyncio.ensure_future(_end_later(server, connection.info.backend_pid, connection.info.user, seconds))
    try:
        yield
    finally:
        ending.cancel()
        await asyncio.wait([ending])


async def _end_later(server: PostgresServer, pid: int, role: str, seconds: float) -> None:
    await asyncio.sleep(seconds)
    await end_session(server, pid, role)


async def end_session(server: PostgresServer, pid: int, role: str) -> None:
    """End a session, if it is one of this role still."""
    with suppress(DatabasesUnavailable, psycopg.Error):  # with the server, its sessions are gone
        async with connected(server.make_admin_login()) as connection:
            await connection.execute(_END, (pid, role))


async def _watch(
    server: PostgresServer, session: str, role: str, blockers: list[str], *, terminate_blockers: bool
) -> None:
    while True:
        await asyncio.sleep(_PAUSE)
        # Where PostgreSQL is away, the session that is watched has an error of its own to tell.
        with suppress(DatabasesUnavailable, psycopg.Error):
            async with connected(server.make_admin_login()) as connection:
                while not blockers:
                    if terminate_blockers:
                        await end(connection, session, role)
                    blockers += await _list_blockers(connection, session)
                    if blockers:
                        await connection.execute(_END_OWN, (session,))
                        return
                    await asyncio.sleep(_PAUSE)


async def _list_blockers(connection: Connection, session: str) -> list[str]:
    cursor = await connection.execute(_BLOCKERS, {"session": session, "seconds": _PATIENCE})
    return [f"process {pid} of {role}{f' ({name})' if name else ''}" for pid, role, name in await cursor.fetchall()]
