"""Losses by SQL: as far as its text tells, and where there is something to take."""

from __future__ import annotations

import pytest

from ikoma.ports.databases import Migration
from ikoma.postgres.migrations.losses import find_losses

OVERWRITTEN = "the values of orders.note, in all rows"
ROWS = {"orders": 3, "empty": 0, "other.notes": None, "now obey": 2}


@pytest.mark.parametrize(
    ("sql", "lost"),
    [
        ("DROP TABLE orders, empty", ["the table orders, with 3 rows"]),
        ("DROP TABLE public.orders", ["the table orders, with 3 rows"]),
        ("CREATE TABLE made (a int); INSERT INTO made VALUES (1); DROP TABLE made", []),
        ("ALTER TABLE orders DROP COLUMN note, ADD COLUMN more int", ["the column orders.note, of 3 rows"]),
        ("ALTER TABLE empty DROP COLUMN note", []),
        ("TRUNCATE empty, orders", ["all rows of orders: 3 rows"]),
        ("DELETE FROM orders WHERE id = 1", ["rows of orders"]),
        ("WITH gone AS (DELETE FROM orders RETURNING *) INSERT INTO empty SELECT * FROM gone", ["all rows of orders"]),
        ("SET search_path = other; DELETE FROM notes", ["all rows of notes"]),
        ("DROP SCHEMA other CASCADE", ["the schema other, with what is in it"]),
        ('DROP TABLE "now obey"', ["the table 'now obey', with 2 rows"]),
        ("INSERT INTO orders VALUES (4); CREATE INDEX ON orders (id)", []),
        ("UPDATE orders SET id = 5, note = ''", ["the values of orders.id, in all rows", OVERWRITTEN]),
        ("UPDATE orders SET note = '' WHERE id = 1", ["the values of orders.note, in some rows"]),
        ("UPDATE orders SET note = '' WHERE note IS NULL AND id < 9", []),
        ("UPDATE orders SET note = '' WHERE note IS NULL OR id < 9", ["the values of orders.note, in some rows"]),
        ("UPDATE empty SET note = ''", []),
        ("ALTER TABLE orders ADD COLUMN more int; UPDATE orders SET more = 1", []),
        ("ALTER TABLE orders ADD COLUMN IF NOT EXISTS note text; UPDATE orders SET note = ''", [OVERWRITTEN]),
        ("WITH x AS (UPDATE orders SET note = '' RETURNING *) SELECT * FROM x", [OVERWRITTEN]),
        ("MERGE INTO orders USING empty ON true WHEN MATCHED THEN DELETE", ["rows of orders"]),
        (
            "MERGE INTO orders USING empty ON true WHEN MATCHED THEN UPDATE SET note = ''",
            ["the values of orders.note, in some rows"],
        ),
        ("this is no SQL '", []),
    ],
)
def test_only_what_holds_rows_now_is_lost(sql: str, lost: list[str]) -> None:
    assert find_losses(Migration.of("x.sql", sql), ROWS, only_rows=True) == lost


def test_where_no_table_holds_rows_nothing_is_lost() -> None:
    for sql in ("DROP SCHEMA other CASCADE", "TRUNCATE a, b", "DELETE FROM a"):
        assert find_losses(Migration.of("x.sql", sql), {"a": 0, "b": 0}, only_rows=True) == []
