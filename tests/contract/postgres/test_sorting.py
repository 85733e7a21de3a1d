"""Indexes and partitions of text when the system's rules of sorting are of another version than when they were made."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from ikoma.errors import MajorUpgradeFailed
from ikoma.postgres.connect import Connection, connect
from ikoma.postgres.major.sorting import DEFAULT, find_changed, note_anew, read_noted, sort_anew
from tests.contract.postgres.conftest import Postgres

SHELF = 'pg_catalog."C.utf8"'
"""A collation that initdb takes from the system, as it takes `"en_US"` where there is one."""


class Shelves:
    """A database, by one admin's connection."""

    def __init__(self, postgres: Postgres, name: str) -> None:
        self._postgres = postgres
        self.connection: Connection = self.do(connect(postgres.server.make_admin_login(name)))

    def ask(self, query: str) -> Any:
        """Run it; the first value of what it says."""

        async def run() -> Any:
            cursor = await self.connection.execute(query.encode())
            row = await cursor.fetchone() if cursor.description else None
            return None if row is None else row[0]

        return self.do(run())

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._postgres.do(work)


@pytest.fixture
def shelves(postgres: Postgres) -> Iterator[Shelves]:
    admin = Shelves(postgres, "postgres")
    admin.ask("CREATE DATABASE shelves TEMPLATE template0")
    made = Shelves(postgres, "shelves")
    yield made
    made.do(made.connection.close())
    admin.ask("DROP DATABASE shelves WITH (FORCE)")
    admin.do(admin.connection.close())


def test_only_what_something_is_sorted_by_counts(shelves: Shelves) -> None:
    noted = {SHELF: "2.31"}
    assert shelves.do(find_changed(shelves.connection, noted)) == []
    shelves.ask('CREATE TABLE public.books (title text COLLATE "C.utf8" PRIMARY KEY, place text)')
    assert shelves.do(find_changed(shelves.connection, noted)) == [SHELF]
    shelves.ask("UPDATE pg_collation SET collversion = '2.31' WHERE collname = 'C.utf8'")
    assert shelves.do(read_noted(shelves.connection))[SHELF] == "2.31"
    shelves.ask("CREATE INDEX places ON public.books (place)")
    assert shelves.do(find_changed(shelves.connection, {DEFAULT: "0"})) == [DEFAULT]
    assert shelves.do(find_changed(shelves.connection, {})) == []


def test_indexes_are_made_anew_and_the_version_is_noted(shelves: Shelves) -> None:
    shelves.ask('CREATE TABLE public.books (title text COLLATE "C.utf8" PRIMARY KEY)')
    shelves.ask("INSERT INTO public.books SELECT md5(n::text) FROM generate_series(1, 100) AS n")
    before = shelves.ask("SELECT pg_relation_filenode('public.books_pkey')")
    shelves.do(sort_anew(shelves.connection, "shelves"))
    assert shelves.ask("SELECT pg_relation_filenode('public.books_pkey')") != before
    shelves.ask("UPDATE pg_database SET datcollversion = '0' WHERE datname = 'shelves'")
    shelves.do(note_anew(shelves.connection, "shelves"))
    assert shelves.ask("SELECT datcollversion FROM pg_database WHERE datname = 'shelves'") == "1"


def test_rows_that_belong_in_another_partition_now_are_found(shelves: Shelves) -> None:
    shelves.ask('CREATE TABLE public.books (title text COLLATE "C.utf8") PARTITION BY RANGE (title)')
    shelves.ask("CREATE TABLE public.early PARTITION OF public.books FOR VALUES FROM ('a') TO ('m')")
    shelves.ask('CREATE TABLE public.late (title text COLLATE "C.utf8")')
    shelves.ask("INSERT INTO public.books VALUES ('b')")
    shelves.do(sort_anew(shelves.connection, "shelves"))
    # As rows lie once other rules hold: beyond the bounds. A constraint that is taken for true keeps them from view.
    shelves.ask("INSERT INTO public.late VALUES ('c')")
    bounds = "title IS NOT NULL AND title >= 'm' AND title < 'z'"
    shelves.ask(f"ALTER TABLE public.late ADD CONSTRAINT bounds CHECK ({bounds}) NOT VALID")
    shelves.ask("UPDATE pg_constraint SET convalidated = true WHERE conname = 'bounds'")
    shelves.ask("ALTER TABLE public.books ATTACH PARTITION public.late FOR VALUES FROM ('m') TO ('z')")
    with pytest.raises(MajorUpgradeFailed, match=r"rows of public\.late belong in another partition"):
        shelves.do(sort_anew(shelves.connection, "shelves"))


def test_ranges_of_a_computed_text_are_not_judged(shelves: Shelves) -> None:
    shelves.ask("CREATE TABLE public.books (title text) PARTITION BY RANGE (upper(title))")
    shelves.ask("CREATE TABLE public.early PARTITION OF public.books FOR VALUES FROM ('A') TO ('M')")
    with pytest.raises(MajorUpgradeFailed, match="by ranges of a computed text"):
        shelves.do(sort_anew(shelves.connection, "shelves"))
