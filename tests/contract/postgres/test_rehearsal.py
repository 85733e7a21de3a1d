"""Databases' promises of a rehearsal: what a migration did to a copy, as the server says it."""

from __future__ import annotations

import pytest

from ikoma.errors import MigrationChanged, SqlFailed
from ikoma.ports.databases import Credentials, Migration, MigrationRehearsal
from tests.contract.postgres.conftest import Postgres
from tests.contract.postgres.test_migrations import migrate, names

BEFORE = """
CREATE TABLE users (id int PRIMARY KEY, name text);
CREATE TABLE orders (id int, of_user int, note varchar(20));
CREATE SCHEMA stock; CREATE TABLE stock.items (id int);
INSERT INTO users SELECT n, 'name' FROM generate_series(1, 20) AS n;
INSERT INTO orders SELECT n, n, 'note' FROM generate_series(1, 30) AS n;
"""


@pytest.fixture
def filled(postgres: Postgres, owned: Credentials) -> Credentials:
    migrate(postgres, owned, BEFORE)
    return owned


def rehearse(postgres: Postgres, place: Credentials, text: str, name: str = "2.sql") -> MigrationRehearsal | None:
    seen = postgres.do(postgres.databases.rehearse(place, Migration.of(name, text), timeout=60))
    assert seen is None or isinstance(seen, MigrationRehearsal)
    return seen


def test_locks_rows_and_rewritten_tables_are_told(postgres: Postgres, filled: Credentials) -> None:
    seen = rehearse(
        postgres,
        filled,
        """
        DO $$ BEGIN EXECUTE 'ALTER TABLE orders ALTER COLUMN of_user TYPE bigint'; END $$;
        ALTER TABLE stock.items ADD COLUMN name text;
        UPDATE users SET name = 'other' WHERE id <= 7; DELETE FROM users WHERE id = 20;
        CREATE TABLE made AS SELECT id FROM users; INSERT INTO made VALUES (0);
        """,
    )
    assert seen is not None
    assert seen.locks == (
        "orders: ACCESS EXCLUSIVE, rewritten",
        "stock.items: ACCESS EXCLUSIVE",
        "users: ROW EXCLUSIVE",
    )
    assert dict(seen.rows)["users"] == 8
    assert dict(seen.rows)["made"] >= 1
    assert seen.rewritten == ("orders",)
    assert seen.seconds > 0
    assert names(postgres, filled) == ["1.sql", "2.sql"]


def test_nothing_that_the_app_has_stands_in_the_way_of_the_look(postgres: Postgres, filled: Credentials) -> None:
    seen = rehearse(
        postgres,
        filled,
        """
        CREATE VIEW public.pg_locks AS SELECT 1 AS relation; SET search_path = public, pg_catalog;
        CREATE TABLE pg_stat_xact_user_tables (relid int); UPDATE users SET name = 'x'
        """,
    )
    assert seen is not None
    assert seen.rows == {"users": 20}
    assert seen.rewritten == ()


def test_a_file_without_a_transaction_says_the_locks_of_its_text(postgres: Postgres, filled: Credentials) -> None:
    text = "-- ikoma: no-transaction\nCREATE INDEX CONCURRENTLY IF NOT EXISTS i ON users (name); VACUUM FULL orders"
    seen = rehearse(postgres, filled, text)
    assert seen is not None
    assert "users: SHARE UPDATE EXCLUSIVE, scanned" in seen.locks
    assert seen.rewritten == ("orders",)


def test_what_was_applied_is_passed_over_and_what_was_changed_is_an_error(
    postgres: Postgres, filled: Credentials
) -> None:
    assert rehearse(postgres, filled, BEFORE, "1.sql") is None
    with pytest.raises(MigrationChanged):
        rehearse(postgres, filled, "SELECT 1", "1.sql")
    with pytest.raises(SqlFailed):
        rehearse(postgres, filled, "SELECT 1 / 0")
