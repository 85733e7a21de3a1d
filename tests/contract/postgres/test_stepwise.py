"""Databases' promises of a file without a transaction: it runs again after whatever has ended it."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest

from ikoma.errors import CannotRevert, DatabasesUnavailable, SqlFailed, SqlStopped
from ikoma.ports.databases import Credentials, Migration
from tests.contract.postgres.conftest import Postgres, meanwhile
from tests.contract.postgres.test_migrations import migrate, names
from tests.support import eventually

MARK = "-- indexes\n-- ikoma: no-transaction\n"
TABLE = "CREATE TABLE t (a int, b int); INSERT INTO t SELECT n, n % 2 FROM generate_series(1, 10) AS n"


@pytest.fixture
def filled(postgres: Postgres, owned: Credentials) -> Credentials:
    with postgres.login(owned) as session:
        session.execute(TABLE)
    return owned


def indexes(postgres: Postgres, owned: Credentials) -> dict[str, bool]:
    """The indexes of the table, and whether each is valid."""
    with postgres.login(owned) as session:
        found = session.execute(
            "SELECT indexrelid::regclass::text, indisvalid FROM pg_index WHERE indrelid = 't'::regclass"
        )
        return dict(found.fetchall())


async def run(postgres: Postgres, owned: Credentials, statement: str) -> bool:
    migration = Migration.of("1.sql", MARK + statement)
    return await postgres.databases.migrate(owned, migration, timeout=60, lock_timeout=20)


def test_an_index_is_built_and_entered(postgres: Postgres, filled: Credentials) -> None:
    text = f"{MARK}CREATE INDEX CONCURRENTLY IF NOT EXISTS one ON t (a);\nVACUUM ANALYZE t;"
    assert migrate(postgres, filled, text)
    assert not migrate(postgres, filled, text)
    assert indexes(postgres, filled) == {"one": True}
    assert names(postgres, filled) == ["1.sql"]


def test_a_value_of_an_enum_can_be_used_by_the_next_file(postgres: Postgres, owned: Credentials) -> None:
    migrate(postgres, owned, "CREATE TYPE mood AS ENUM ('sad'); CREATE TABLE t (m mood)")
    migrate(postgres, owned, f"{MARK}ALTER TYPE mood ADD VALUE IF NOT EXISTS 'so'", "2.sql")
    assert migrate(postgres, owned, "INSERT INTO t VALUES ('so')", "3.sql")


def test_what_fails_leaves_no_index_and_runs_again(postgres: Postgres, filled: Credentials) -> None:
    text = (
        f"{MARK}CREATE INDEX CONCURRENTLY IF NOT EXISTS one ON t (a);\n\n"
        "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS two ON t (b);"
    )
    with pytest.raises(SqlStopped) as caught:
        migrate(postgres, filled, text)
    assert (caught.value.details["line"], caught.value.details["statement"]) == (5, 2)
    assert caught.value.details["sqlstate"] == "23505"
    assert indexes(postgres, filled) == {"one": True}
    assert names(postgres, filled) == []
    with postgres.login(filled) as session:
        session.execute("UPDATE t SET b = a")
    assert migrate(postgres, filled, text)
    assert indexes(postgres, filled) == {"one": True, "two": True}


def test_the_place_of_an_error_is_that_of_the_file(postgres: Postgres, filled: Credentials) -> None:
    with pytest.raises(SqlStopped) as caught:
        migrate(
            postgres,
            filled,
            f"{MARK}ANALYZE t;\n/* ü */ CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON t (\n (nothing(a)));",
        )
    assert (caught.value.details["line"], caught.value.details["statement"]) == (5, 2)


@pytest.mark.parametrize(
    "statement", ["CREATE INDEX CONCURRENTLY IF NOT EXISTS one ON t (a)", "REINDEX TABLE CONCURRENTLY t"]
)
def test_what_was_killed_on_its_way_is_cleaned_up_by_the_next_run(
    postgres: Postgres, filled: Credentials, statement: str
) -> None:
    if statement.startswith("REINDEX"):
        migrate(postgres, filled, "CREATE INDEX one ON t (a)", "0.sql")
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_progress_create_index"
    with postgres.login(filled) as holder, postgres.admin(filled.database) as admin:
        holder.execute("BEGIN; INSERT INTO t VALUES (11, 11)")  # the index waits for it
        with pytest.raises((SqlFailed, DatabasesUnavailable)):
            postgres.do(
                meanwhile(
                    run(postgres, filled, statement),
                    lambda: eventually(lambda: False in indexes(postgres, filled).values()),
                    lambda: admin.execute(kill),
                )
            )
        holder.execute("COMMIT")
    assert sorted(indexes(postgres, filled).values())[0] is False
    assert "1.sql" not in names(postgres, filled)
    assert migrate(postgres, filled, MARK + statement)
    assert indexes(postgres, filled) == {"one": True}


def test_an_index_that_another_session_builds_is_not_dropped(postgres: Postgres, filled: Credentials) -> None:
    build = "CREATE INDEX CONCURRENTLY IF NOT EXISTS one ON t (a)"

    async def both(admin: psycopg.Connection[Any], holder: psycopg.Connection[Any]) -> bool:
        building = asyncio.ensure_future(asyncio.to_thread(by_hand))
        await asyncio.to_thread(eventually, lambda: indexes(postgres, filled) == {"one": False})
        steps = (
            lambda: eventually(lambda: _waits(admin)),
            lambda: indexes(postgres, filled)["one"],  # it is there
            lambda: holder.execute("COMMIT"),
        )
        applied = await meanwhile(run(postgres, filled, build), *steps)
        await building
        return bool(applied)

    def by_hand() -> None:
        with postgres.login(filled) as session:
            session.execute(build)

    with postgres.admin() as admin, postgres.login(filled) as holder:
        holder.execute("BEGIN; INSERT INTO t VALUES (11, 11)")
        assert postgres.do(both(admin, holder))
    assert indexes(postgres, filled) == {"one": True}


def _waits(session: psycopg.Connection[Any]) -> bool:
    waiting = "SELECT FROM pg_stat_activity WHERE application_name = 'ikoma' AND wait_event_type = 'Lock'"
    return session.execute(waiting).rowcount >= 1


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("INSERT INTO t VALUES (1, 1)", "another migration"),
        ("CREATE INDEX CONCURRENTLY one ON t (a)", "IF NOT EXISTS"),
        ("CREATE INDEX IF NOT EXISTS one ON t (a)", "CONCURRENTLY"),
        ("ALTER TYPE mood ADD VALUE 'x'", "IF NOT EXISTS"),
        ("BEGIN; ANALYZE t; COMMIT", "Remove it"),
    ],
)
def test_what_has_no_place_there_is_refused_before_anything_runs(
    postgres: Postgres, filled: Credentials, text: str, fix: str
) -> None:
    with pytest.raises(SqlFailed) as caught:
        migrate(postgres, filled, f"{MARK}CREATE INDEX CONCURRENTLY IF NOT EXISTS first ON t (a);\n{text}")
    assert not isinstance(caught.value, SqlStopped)
    assert fix in caught.value.hint
    assert indexes(postgres, filled) == {}


def test_a_way_back_may_be_without_a_transaction_too(postgres: Postgres, filled: Credentials) -> None:
    migrate(postgres, filled, f"{MARK}CREATE INDEX CONCURRENTLY IF NOT EXISTS one ON t (a)")
    migrate(postgres, filled, "SELECT 1", "2.sql")
    down = Migration.of("1.down.sql", f"{MARK}DROP INDEX CONCURRENTLY IF EXISTS one")

    def revert() -> None:
        postgres.do(postgres.databases.revert(filled, "1.sql", down, timeout=60, lock_timeout=5))

    with pytest.raises(CannotRevert):
        revert()
    assert indexes(postgres, filled) == {"one": True}
    postgres.do(postgres.databases.revert(filled, "2.sql", Migration.of("2.down.sql", ""), timeout=60, lock_timeout=5))
    revert()
    assert (indexes(postgres, filled), names(postgres, filled)) == ({}, [])


def test_it_is_applied_once_by_two_runs_at_once(postgres: Postgres, filled: Credentials) -> None:
    async def together() -> list[bool]:
        runs = [run(postgres, filled, "CREATE INDEX CONCURRENTLY IF NOT EXISTS one ON t (a)") for _ in range(3)]
        return list(await asyncio.gather(*runs))

    assert sorted(postgres.do(together())) == [False, False, True]
    assert indexes(postgres, filled) == {"one": True}
