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
from ikoma.postgres.server import resource_guard
from ikoma.postgres.server.resource_guard import SessionLimits, guard, look
from tests.contract.postgres.conftest import Postgres, make_database

MIB = 1 << 20
HOLDS = b"DO $$ DECLARE held text := repeat('x', 300 << 20); BEGIN PERFORM pg_sleep(60); END $$"
SHARED = b"SELECT count(*) FROM pg_class; DO $$ BEGIN PERFORM pg_sleep(1); END $$"


async def ended(
    postgres: Postgres,
    parameters: dict[str, object],
    statement: bytes,
    limits: SessionLimits,
    told: Callable[[], bool] = lambda: True,
) -> bool:
    """Whether the guard ends a session with this statement before it ends by itself, and tells of it."""
    guarding = asyncio.ensure_future(guard(postgres.server, limits, pause=0.1))
    try:
        async with await psycopg.AsyncConnection.connect(**parameters, autocommit=True) as session:  # type: ignore[arg-type]
            await session.execute(statement)
    except psycopg.errors.AdminShutdown:
        async with asyncio.timeout(60):
            while not told():  # it says so once it has done it
                await asyncio.sleep(0.05)
        return True
    finally:
        guarding.cancel()
        await asyncio.wait([guarding])
    return False


def test_a_session_that_takes_too_much_memory_is_ended(
    postgres: Postgres, owned: Credentials, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "ikoma.postgres"):
        limits = SessionLimits(200 * MIB, 3600)
        assert postgres.do(
            ended(
                postgres,
                postgres.server.make_app_login(owned),
                HOLDS,
                limits,
                lambda: "DB_SESSION_MEMORY_MB" in caplog.text,
            )
        )
    assert owned.role in caplog.text


def test_a_statement_that_takes_too_long_is_ended(
    postgres: Postgres, owned: Credentials, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "ikoma.postgres"):
        assert postgres.do(
            ended(
                postgres,
                postgres.server.make_app_login(owned),
                b"SELECT pg_sleep(60)",
                SessionLimits(200 * MIB, 1),
                lambda: "DB_STATEMENT_MAX_MINUTES" in caplog.text,
            )
        )


def test_within_the_limits_nothing_is_ended(postgres: Postgres, owned: Credentials) -> None:
    assert not postgres.do(
        ended(postgres, postgres.server.make_app_login(owned), SHARED, SessionLimits(100 * MIB, 3600))
    )


def test_sessions_of_others_are_left_alone(postgres: Postgres, app: AppName, owned: Credentials) -> None:
    """The admin's, and those of roles that IKOMA did not make."""
    with postgres.admin() as session:
        session.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'x'").format(sql.Identifier("someone-else")))
        session.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier("someone-else")))
        try:
            other = {
                **postgres.server.make_admin_login("someone-else"),
                "user": "someone-else",
                "password": "x",
                "options": "",
            }
            for parameters in (postgres.server.make_admin_login(app), other):
                assert not postgres.do(ended(postgres, parameters, SHARED, SessionLimits(1, 0)))
        finally:
            session.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier("someone-else")))
            session.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier("someone-else")))


def test_a_session_that_rests_takes_no_time(postgres: Postgres, owned: Credentials) -> None:
    async def rests(wait: Callable[[float], Awaitable[None]]) -> None:
        async with (
            connected(postgres.server.make_admin_login()) as admin,
            await psycopg.AsyncConnection.connect(**postgres.server.make_app_login(owned), autocommit=True) as session,
        ):
            await session.execute("SELECT 1")
            await wait(0.2)
            await look(admin, SessionLimits(500 * MIB, 0.1))
            await session.execute("SELECT 1")

    postgres.do(rests(asyncio.sleep))


class Turns:
    """In place of the guard's clock: it looks again when it is told to, however long all else takes."""

    def __init__(self) -> None:
        self._rests, self._goes_on = asyncio.Event(), asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self._rests.set()
        await self._goes_on.wait()
        self._goes_on.clear()

    async def has_looked(self) -> None:
        async with asyncio.timeout(60):
            await self._rests.wait()

    async def look_again(self) -> None:
        self._rests.clear()
        self._goes_on.set()
        await self.has_looked()


def test_an_app_that_takes_every_lock_does_not_shut_the_others_out(
    postgres: Postgres, owned: Credentials, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def taken() -> None:
        turns = Turns()
        monkeypatch.setattr(resource_guard, "asyncio", turns)
        guarding = asyncio.ensure_future(guard(postgres.server, SessionLimits(4096 * MIB, 3600)))
        try:
            async with await psycopg.AsyncConnection.connect(
                **postgres.server.make_app_login(owned), autocommit=True
            ) as session:
                await turns.has_looked()
                # What it knows of the role it must read again, and that takes a lock.
                await session.execute("ALTER ROLE CURRENT_USER PASSWORD 'another'")
                with pytest.raises(psycopg.errors.OutOfMemory):
                    await session.execute("SELECT count(pg_advisory_lock(i)) FROM generate_series(1, 10000000) AS i")
                with pytest.raises(DatabasesUnavailable):
                    await postgres.databases.read_version()
                await turns.look_again()
                async with asyncio.timeout(60):
                    with pytest.raises(psycopg.errors.AdminShutdown):
                        while True:
                            await session.execute("SELECT 1")
                    await _answers(postgres)
        finally:
            guarding.cancel()
            await asyncio.wait([guarding])

    with caplog.at_level(logging.WARNING, "ikoma.postgres"):
        postgres.do(taken())
    assert "locks" in caplog.text


async def _answers(postgres: Postgres) -> None:
    """Wait until others are let in: the locks are free once the session has ended."""
    while True:
        try:
            await postgres.databases.read_version()
            return
        except DatabasesUnavailable:
            await asyncio.sleep(0.05)


def test_the_app_with_the_most_locks_loses_its_sessions_first(postgres: Postgres, owned: Credentials) -> None:
    """Many sessions with a few locks each are as much as one with many; another app's are left alone."""
    other = make_database(postgres, AppName.parse("modest"))

    async def hold(credentials: Credentials, first: int, count: int) -> psycopg.AsyncConnection[tuple[object, ...]]:
        session = await psycopg.AsyncConnection.connect(**postgres.server.make_app_login(credentials), autocommit=True)
        await session.execute(
            "SELECT count(pg_advisory_lock(i)) FROM generate_series(%s::int, %s) AS i", (first, first + count - 1)
        )
        return session

    async def looked() -> list[bool]:
        sessions = [await hold(owned, number * 1000, 400) for number in range(3)] + [await hold(other, 0, 700)]
        async with connected(postgres.server.make_admin_login()) as admin:
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
