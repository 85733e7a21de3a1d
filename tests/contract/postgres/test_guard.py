"""A session of an app that takes too much is ended, and nobody else's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import psycopg
import pytest
from psycopg import sql

from ikoma.errors import DatabasesUnavailable
from ikoma.model import AppName
from ikoma.ports.databases import Credentials
from ikoma.postgres.connect import connected
from ikoma.postgres.server.resource_guard import SessionLimits, guard, look
from tests.contract.postgres.conftest import Postgres, make_database

MIB = 1 << 20
HOLDS = b"DO $$ DECLARE held text := repeat('x', 300 << 20); BEGIN PERFORM pg_sleep(60); END $$"
SHARED = b"SELECT count(*) FROM pg_class; DO $$ BEGIN PERFORM pg_sleep(1); END $$"


async def ended(postgres: Postgres, parameters: dict[str, object], statement: bytes, limits: SessionLimits) -> bool:
    """Whether the guard ends a session with this statement before it ends by itself."""
    guarding = asyncio.ensure_future(guard(postgres.server, limits, pause=0.1))
    try:
        async with await psycopg.AsyncConnection.connect(**parameters, autocommit=True) as session:  # type: ignore[arg-type]
            await session.execute(statement)
    except psycopg.errors.AdminShutdown:
        await asyncio.sleep(0.5)  # it says so once it has done it
        return True
    finally:
        guarding.cancel()
        await asyncio.wait([guarding])
    return False


def test_a_session_that_takes_too_much_memory_is_ended(
    postgres: Postgres, owned: Credentials, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "ikoma.postgres"):
        assert postgres.do(ended(postgres, postgres.server.as_app(owned), HOLDS, SessionLimits(200 * MIB, 3600)))
    assert owned.role in caplog.text
    assert "DB_SESSION_MEMORY_MB" in caplog.text


def test_a_statement_that_takes_too_long_is_ended(
    postgres: Postgres, owned: Credentials, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "ikoma.postgres"):
        assert postgres.do(
            ended(postgres, postgres.server.as_app(owned), b"SELECT pg_sleep(60)", SessionLimits(200 * MIB, 1))
        )
    assert "DB_STATEMENT_MAX_MINUTES" in caplog.text


def test_within_the_limits_nothing_is_ended(postgres: Postgres, owned: Credentials) -> None:
    assert not postgres.do(ended(postgres, postgres.server.as_app(owned), SHARED, SessionLimits(100 * MIB, 3600)))


def test_sessions_of_others_are_left_alone(postgres: Postgres, app: AppName, owned: Credentials) -> None:
    """The admin's, and those of roles that IKOMA did not make."""
    with postgres.admin() as session:
        session.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'x'").format(sql.Identifier("someone-else")))
        session.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier("someone-else")))
        try:
            other = {**postgres.server.admin("someone-else"), "user": "someone-else", "password": "x", "options": ""}
            for parameters in (postgres.server.admin(app), other):
                assert not postgres.do(ended(postgres, parameters, SHARED, SessionLimits(1, 0)))
        finally:
            session.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier("someone-else")))
            session.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier("someone-else")))


def test_a_session_that_rests_takes_no_time(postgres: Postgres, owned: Credentials) -> None:
    async def rests(wait: Callable[[float], Awaitable[None]]) -> None:
        async with (
            connected(postgres.server.admin()) as admin,
            await psycopg.AsyncConnection.connect(**postgres.server.as_app(owned), autocommit=True) as session,
        ):
            await session.execute("SELECT 1")
            await wait(0.2)
            await look(admin, SessionLimits(500 * MIB, 0.1))
            await session.execute("SELECT 1")

    postgres.do(rests(asyncio.sleep))


def test_an_app_that_takes_every_lock_does_not_shut_the_others_out(
    postgres: Postgres, owned: Credentials, caplog: pytest.LogCaptureFixture
) -> None:
    async def taken() -> None:
        guarding = asyncio.ensure_future(guard(postgres.server, SessionLimits(4096 * MIB, 3600), pause=5))
        try:
            async with await psycopg.AsyncConnection.connect(
                **postgres.server.as_app(owned), autocommit=True
            ) as session:
                await asyncio.sleep(1)  # it has looked once
                # What it knows of the role it must read again, and that takes a lock.
                await session.execute("ALTER ROLE CURRENT_USER PASSWORD 'another'")
                with pytest.raises(psycopg.errors.OutOfMemory):
                    await session.execute("SELECT count(pg_advisory_lock(i)) FROM generate_series(1, 10000000) AS i")
                with pytest.raises(DatabasesUnavailable):
                    await postgres.databases.read_version()
                await asyncio.sleep(6)
                await postgres.databases.read_version()
                with pytest.raises(psycopg.errors.AdminShutdown):
                    await session.execute("SELECT 1")
        finally:
            guarding.cancel()
            await asyncio.wait([guarding])

    with caplog.at_level(logging.WARNING, "ikoma.postgres"):
        postgres.do(taken())
    assert "locks" in caplog.text


def test_the_app_with_the_most_locks_loses_its_sessions_first(postgres: Postgres, owned: Credentials) -> None:
    """Many sessions with a few locks each are as much as one with many; another app's are left alone."""
    other = make_database(postgres, AppName.parse("modest"))

    async def hold(credentials: Credentials, first: int, count: int) -> psycopg.AsyncConnection[tuple[object, ...]]:
        session = await psycopg.AsyncConnection.connect(**postgres.server.as_app(credentials), autocommit=True)
        await session.execute(
            "SELECT count(pg_advisory_lock(i)) FROM generate_series(%s::int, %s) AS i", (first, first + count - 1)
        )
        return session

    async def looked() -> list[bool]:
        sessions = [await hold(owned, number * 1000, 400) for number in range(3)] + [await hold(other, 0, 700)]
        async with connected(postgres.server.admin()) as admin:
            await look(admin, SessionLimits(4096 * MIB, 3600, locks=1300))
        alive = []
        for session in sessions:
            try:
                await session.execute("SELECT 1")
            except psycopg.errors.AdminShutdown:
                alive.append(False)
            else:
                alive.append(True)
            await session.close()
        return alive

    try:
        *greedy, modest = postgres.do(looked())
    finally:
        postgres.do(postgres.databases.drop(AppName.parse("modest")))
    assert modest
    assert greedy.count(True) == 1
