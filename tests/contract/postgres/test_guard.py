"""A session of an app that takes too much is ended, and nobody else's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import psycopg
import pytest
from psycopg import sql

from ikoma.model import AppName
from ikoma.ports import Credentials
from ikoma.postgres.connect import connected
from ikoma.postgres.guard import Limits, guard, look
from tests.contract.postgres.conftest import Postgres

MIB = 1 << 20
HOLDS = b"DO $$ DECLARE held text := repeat('x', 300 << 20); BEGIN PERFORM pg_sleep(60); END $$"
SHARED = b"SELECT count(*) FROM pg_class; DO $$ BEGIN PERFORM pg_sleep(1); END $$"


async def ended(postgres: Postgres, parameters: dict[str, object], statement: bytes, limits: Limits) -> bool:
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
        assert postgres.do(ended(postgres, postgres.server.as_app(owned), HOLDS, Limits(200 * MIB, 3600)))
    assert owned.role in caplog.text
    assert "DB_SESSION_MEMORY_MB" in caplog.text


def test_a_statement_that_takes_too_long_is_ended(
    postgres: Postgres, owned: Credentials, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "ikoma.postgres"):
        assert postgres.do(ended(postgres, postgres.server.as_app(owned), b"SELECT pg_sleep(60)", Limits(200 * MIB, 1)))
    assert "DB_STATEMENT_MAX_MINUTES" in caplog.text


def test_within_the_limits_nothing_is_ended(postgres: Postgres, owned: Credentials) -> None:
    assert not postgres.do(ended(postgres, postgres.server.as_app(owned), SHARED, Limits(100 * MIB, 3600)))


def test_sessions_of_others_are_left_alone(postgres: Postgres, app: AppName, owned: Credentials) -> None:
    """The admin's, and those of roles that IKOMA did not make."""
    with postgres.admin() as session:
        session.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'x'").format(sql.Identifier("someone-else")))
        session.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier("someone-else")))
        try:
            other = {**postgres.server.admin("someone-else"), "user": "someone-else", "password": "x", "options": ""}
            for parameters in (postgres.server.admin(app), other):
                assert not postgres.do(ended(postgres, parameters, SHARED, Limits(1, 0)))
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
            await look(admin, Limits(500 * MIB, 0.1))
            await session.execute("SELECT 1")

    postgres.do(rests(asyncio.sleep))
