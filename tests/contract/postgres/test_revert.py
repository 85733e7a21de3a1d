"""Databases' promises about going back: the newest migration is undone whole, with its entry, or nothing is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ikoma.errors import CannotRevert, SqlFailed
from ikoma.ports.databases import Credentials, Migration
from tests.contract.postgres.conftest import Postgres
from tests.contract.postgres.test_migrations import count, migrate, names, tables

UP = {
    "1.sql": "CREATE TABLE a (id int); INSERT INTO a VALUES (1)",
    "2.sql": "CREATE TABLE b (id int)",
    "3.sql": "ALTER TABLE a ADD COLUMN more int",
}


@pytest.fixture
def filled(postgres: Postgres, owned: Credentials) -> Credentials:
    for name, text in UP.items():
        migrate(postgres, owned, text, name)
    return owned


def revert(
    postgres: Postgres, owned: Credentials, name: str, text: str, *, timeout: float = 60, lock: float = 5
) -> None:
    down = Migration.of(name.replace(".sql", ".down.sql"), text)
    postgres.do(postgres.databases.revert(owned, name, down, timeout=timeout, lock_timeout=lock))


def test_several_go_newest_first_and_can_be_applied_again(postgres: Postgres, filled: Credentials) -> None:
    before = tables(postgres, filled)
    revert(postgres, filled, "3.sql", "ALTER TABLE a DROP COLUMN more")
    revert(postgres, filled, "2.sql", "DROP TABLE b")
    assert names(postgres, filled) == ["1.sql"]
    assert "b" not in tables(postgres, filled)
    assert count(postgres, filled, "a") == 1
    for name in ("2.sql", "3.sql"):
        assert migrate(postgres, filled, UP[name], name)
    assert names(postgres, filled) == ["1.sql", "2.sql", "3.sql"]
    assert tables(postgres, filled) == before


def test_a_changed_migration_applies_once_its_old_text_was_undone(postgres: Postgres, filled: Credentials) -> None:
    revert(postgres, filled, "3.sql", "ALTER TABLE a DROP COLUMN more")
    assert migrate(postgres, filled, "ALTER TABLE a ADD COLUMN other int", "3.sql")


def test_only_the_newest_can_be_undone(postgres: Postgres, filled: Credentials) -> None:
    with pytest.raises(CannotRevert, match=r"1\.sql is not the newest migration: 2\.sql, 3\.sql") as caught:
        revert(postgres, filled, "1.sql", "DROP TABLE a")
    assert caught.value.hint == "Undo 3.sql, then 2.sql first."
    assert caught.value.status == 409
    assert names(postgres, filled) == ["1.sql", "2.sql", "3.sql"]
    assert count(postgres, filled, "a") == 1


def test_the_newest_is_the_one_applied_last_whatever_its_number(postgres: Postgres, filled: Credentials) -> None:
    migrate(postgres, filled, "CREATE TABLE late (id int)", "0.sql")
    with pytest.raises(CannotRevert, match=r"0\.sql"):
        revert(postgres, filled, "3.sql", "ALTER TABLE a DROP COLUMN more")
    revert(postgres, filled, "0.sql", "DROP TABLE late")
    assert names(postgres, filled) == ["1.sql", "2.sql", "3.sql"]


@pytest.mark.parametrize("name", ["4.sql", "", "1.SQL"])
def test_what_is_not_applied_cannot_be_undone(postgres: Postgres, filled: Credentials, name: str) -> None:
    with pytest.raises(CannotRevert, match="not applied"):
        revert(postgres, filled, name, "DROP TABLE a")
    assert count(postgres, filled, "a") == 1


def test_nothing_was_ever_applied(postgres: Postgres, owned: Credentials) -> None:
    with pytest.raises(CannotRevert, match="not applied"):
        revert(postgres, owned, "1.sql", "SELECT 1")
    assert names(postgres, owned) == []


@pytest.mark.parametrize(
    "text",
    [
        "DROP TABLE b;\nSELECT 1 / 0",
        "DROP TABLE b;\nDROP TABLE none",
        "DROP TABLE b;\nCOMMIT",
        "DROP TABLE b;\nSELEC",
        "DROP TABLE b; DROP SCHEMA ikoma CASCADE",
        "DROP TABLE b; DELETE FROM ikoma.migrations",
        "DROP TABLE b; CREATE RULE r AS ON DELETE TO ikoma.migrations DO INSTEAD NOTHING",
        "DROP TABLE b; SELECT pg_terminate_backend(pg_backend_pid())",
    ],
)
def test_a_down_migration_that_fails_changes_nothing(postgres: Postgres, filled: Credentials, text: str) -> None:
    with pytest.raises(SqlFailed) as caught:
        revert(postgres, filled, "3.sql", text)
    assert caught.value.details["file"] == "3.down.sql"
    assert names(postgres, filled) == ["1.sql", "2.sql", "3.sql"]
    assert count(postgres, filled, "b") == 0


def test_it_runs_with_no_more_rights_than_the_app_has(postgres: Postgres, filled: Credentials) -> None:
    with pytest.raises(SqlFailed) as caught:
        revert(postgres, filled, "3.sql", "SELECT pg_read_file('/etc/passwd')")
    assert caught.value.details["sqlstate"] == "42501"


def test_a_down_migration_of_nothing_still_removes_the_entry(postgres: Postgres, filled: Credentials) -> None:
    revert(postgres, filled, "3.sql", "-- the column may stay")
    assert names(postgres, filled) == ["1.sql", "2.sql"]


def test_slow_and_locked_out_end_in_time(postgres: Postgres, filled: Credentials) -> None:
    with pytest.raises(SqlFailed) as caught:
        revert(postgres, filled, "3.sql", "SELECT pg_sleep(30)", timeout=0.3)
    assert caught.value.details["sqlstate"] == "57014"
    with postgres.login(filled) as holder:
        holder.execute("BEGIN; LOCK TABLE a")
        with pytest.raises(SqlFailed) as caught:
            revert(postgres, filled, "3.sql", "ALTER TABLE a DROP COLUMN more", lock=0.3)
    assert caught.value.details["sqlstate"] == "55P03"
    assert names(postgres, filled) == ["1.sql", "2.sql", "3.sql"]


def test_two_at_once_undo_it_once(postgres: Postgres, filled: Credentials) -> None:
    down = Migration.of("3.down.sql", "SELECT pg_sleep(0.2); ALTER TABLE a DROP COLUMN more")

    async def together() -> list[Any]:
        runs = [postgres.databases.revert(filled, "3.sql", down, timeout=60, lock_timeout=60) for _ in range(3)]
        return list(await asyncio.gather(*runs, return_exceptions=True))

    done = postgres.do(together())
    assert sorted(type(one).__name__ for one in done) == ["CannotRevert", "CannotRevert", "NoneType"]
    assert names(postgres, filled) == ["1.sql", "2.sql"]
