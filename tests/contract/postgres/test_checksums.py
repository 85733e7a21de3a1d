"""Databases' promises of checksums: a restored database has those of its dump, and any other row shows."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from ikoma.errors import BackupUnproven
from ikoma.model import AppName
from ikoma.ports.databases import Credentials, Dump
from ikoma.ports.progress import ignore_progress
from tests.contract.postgres.conftest import Postgres

ZOO = """
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN odd AS int CHECK (VALUE % 2 = 1);
CREATE EXTENSION hstore;
CREATE TABLE kinds (t text, "t.t" int, f float8, r real, n numeric, m money, d date, ts timestamptz,
    i interval, b bytea, j json, jb jsonb, a text[], p pair, e mood, o odd, h hstore, rg int4range, reg regclass,
    x xid8, v tsvector,
    g float8 GENERATED ALWAYS AS (f * 2) STORED);
INSERT INTO kinds VALUES (E'tab\\there\\nline\\\\.', 1, 0.1::float8 + 0.2, 1e-30, 1.50, 12.30, '2026-01-02',
    '2026-01-02 03:04:05.678901+09',
    '1 mon -2 days 03:00', '\\x00ff', '{"a":  1}', '{"b": 2}', '{a,NULL,""}',
    (1, NULL), 'happy', 3, 'a=>1', '[1,5)', 'pg_class', '77', 'one two');
INSERT INTO kinds DEFAULT VALUES; INSERT INTO kinds DEFAULT VALUES;
INSERT INTO kinds (f, n) VALUES ('NaN', 'Infinity'), ('-0', 0);
CREATE TABLE bare (); INSERT INTO bare DEFAULT VALUES; INSERT INTO bare DEFAULT VALUES;
CREATE TABLE nothing (id int);
CREATE TABLE gone (a int, b int, c int); INSERT INTO gone VALUES (1, 2, 3); ALTER TABLE gone DROP COLUMN b;
CREATE TABLE part (id int, day date) PARTITION BY RANGE (day);
CREATE TABLE part_other (day date, id int);
ALTER TABLE part ATTACH PARTITION part_other FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE TABLE part_rest PARTITION OF part DEFAULT;
INSERT INTO part SELECT n, '2026-01-01'::date + n * 20 FROM generate_series(1, 50) AS n;
CREATE TABLE parent (id int); CREATE TABLE child (own text) INHERITS (parent);
ALTER TABLE parent ADD COLUMN later int; INSERT INTO child VALUES (1, 'x', 2); INSERT INTO parent VALUES (3, 4);
CREATE TABLE hidden (id int); INSERT INTO hidden VALUES (1), (2);
ALTER TABLE hidden ENABLE ROW LEVEL SECURITY; ALTER TABLE hidden FORCE ROW LEVEL SECURITY;
CREATE POLICY none ON hidden USING (false);
CREATE UNLOGGED TABLE quick (id int); INSERT INTO quick VALUES (1);
CREATE SCHEMA stock; CREATE TABLE stock."Odd ""name"" x" ("a b" text); INSERT INTO stock."Odd ""name"" x" VALUES ('x');
CREATE MATERIALIZED VIEW stale AS SELECT count(*) FROM quick; INSERT INTO quick VALUES (2);
SELECT lo_from_bytea(0, decode(repeat('ab00', 5000), 'hex'));
SELECT lo_from_bytea(0, '');
SELECT lo_put(lo_create(0), 9000, '\\x01');
"""


def make(postgres: Postgres, owned: Credentials, text: str) -> None:
    with postgres.login(owned) as session:
        session.execute(text.encode())


def dump(postgres: Postgres, owned: Credentials, path: Path) -> Dump:
    app = AppName(owned.role)
    made: Dump = postgres.do(postgres.databases.dump(app, path, summed=True, progress=ignore_progress))
    return made


def prove(postgres: Postgres, owned: Credentials, made: Dump) -> float:
    async def proven() -> float:
        async with postgres.databases.make_stand_in(owned) as place:
            return await postgres.databases.prove(owned, made, place, what="It differs", progress=ignore_progress)

    seconds: float = postgres.do(proven())
    return seconds


def test_a_restored_database_has_the_checksums_of_its_dump_whatever_is_in_it(
    postgres: Postgres, owned: Credentials, tmp_path: Path
) -> None:
    make(postgres, owned, ZOO)
    with postgres.admin() as admin:  # what a session writes values by is not what they are summed by
        for setting in ("datestyle = 'German'", "extra_float_digits = 0", "timezone = 'Asia/Tokyo'"):
            admin.execute(f'ALTER DATABASE "{owned.database}" SET {setting}'.encode())
    made = dump(postgres, owned, tmp_path / "a.sql")
    assert set(made.checksums) == {*made.tables, "pg_catalog.pg_largeobject"}
    assert made.checksums["nothing"] == "0"
    assert made.postgres.startswith("18.")
    assert prove(postgres, owned, made) > 0


def test_a_checksum_is_of_the_snapshot_and_is_the_same_again(
    postgres: Postgres, owned: Credentials, tmp_path: Path
) -> None:
    make(
        postgres, owned, "CREATE TABLE t (id int, x text); INSERT INTO t SELECT n, n FROM generate_series(1, 500) AS n"
    )
    first = dump(postgres, owned, tmp_path / "a.sql").checksums
    make(postgres, owned, "UPDATE t SET x = x WHERE id < 100")
    assert dump(postgres, owned, tmp_path / "b.sql").checksums == first
    make(postgres, owned, "UPDATE t SET x = 'one' WHERE id = 7")
    assert dump(postgres, owned, tmp_path / "c.sql").checksums != first
    make(postgres, owned, "UPDATE t SET x = '7' WHERE id = 7; INSERT INTO t VALUES (1, 1)")
    assert dump(postgres, owned, tmp_path / "d.sql").checksums != first


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        ((b"two\n", b"TWO\n"), "rows of words are others"),
        ((b"one\n", b"two\n"), "rows of words are others"),
        ((b"CREATE TABLE public.words ", b"CREATE TABLE public.wordz "), "words"),
        ((rb"'\\x6f6e65'", rb"'\\x6f6e66'"), "large objects"),
    ],
)
def test_a_dump_that_was_edited_is_found_although_it_restores_and_no_row_is_missing(
    postgres: Postgres, owned: Credentials, tmp_path: Path, edit: tuple[bytes, bytes], said: str
) -> None:
    make(postgres, owned, "CREATE TABLE words (x text); INSERT INTO words VALUES ('one'), ('two')")
    make(postgres, owned, "SELECT lo_from_bytea(0, 'one')")
    made = dump(postgres, owned, tmp_path / "a.sql")
    text = made.path.read_bytes()
    found, instead = (item.replace(b"\\\\x", b"\\x") for item in edit)
    assert found in text
    made.path.write_bytes(text.replace(found, instead))
    with pytest.raises(BackupUnproven, match=re.escape(said)):
        prove(postgres, owned, made)


def test_a_table_that_is_missing_is_found(postgres: Postgres, owned: Credentials, tmp_path: Path) -> None:
    make(postgres, owned, "CREATE TABLE t (id int)")
    made = dump(postgres, owned, tmp_path / "a.sql")
    with pytest.raises(BackupUnproven, match="other is not there then"):
        prove(postgres, owned, replace(made, tables={**made.tables, "other": 1}))


def test_a_generated_column_whose_function_has_changed_is_told_with_what_to_do(
    postgres: Postgres, owned: Credentials, tmp_path: Path
) -> None:
    make(
        postgres,
        owned,
        "CREATE FUNCTION f(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + 1';"
        "CREATE TABLE t (x int, y int GENERATED ALWAYS AS (f(x)) STORED); INSERT INTO t VALUES (1);"
        "CREATE OR REPLACE FUNCTION f(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + 2'",
    )
    with pytest.raises(BackupUnproven, match="rows of t are others") as failed:
        prove(postgres, owned, dump(postgres, owned, tmp_path / "a.sql"))
    assert "generated column" in failed.value.hint
    make(postgres, owned, "UPDATE t SET x = x")
    prove(postgres, owned, dump(postgres, owned, tmp_path / "b.sql"))


def test_code_of_the_app_gets_no_more_rights_from_being_summed(
    postgres: Postgres, owned: Credentials, tmp_path: Path
) -> None:
    make(
        postgres,
        owned,
        "CREATE FUNCTION spy() RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN"
        " IF EXISTS (SELECT FROM pg_roles WHERE rolname = current_user AND rolsuper) THEN RAISE 'a superuser'; END IF;"
        " RETURN 1; END $$;"
        "CREATE TABLE t (id int); INSERT INTO t VALUES (1);"
        "CREATE FUNCTION as_text(t) RETURNS text LANGUAGE sql AS 'SELECT spy()::text';"
        "CREATE CAST (t AS text) WITH FUNCTION as_text(t) AS IMPLICIT;"
        "CREATE INDEX ON t (id) WHERE id > spy()",
    )
    made = dump(postgres, owned, tmp_path / "a.sql")
    assert set(made.checksums) == {"t"}
    with postgres.admin(owned.database) as admin:
        left = admin.execute("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'ikoma_reader%'").fetchone()
        assert left == (0,)


def test_a_table_that_is_locked_has_no_checksum_and_nothing_waits_for_it(
    postgres: Postgres, owned: Credentials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ikoma.postgres.backup import row_counts

    make(postgres, owned, "CREATE TABLE a (id int); CREATE TABLE b (id int); CREATE TABLE c (id int, x int)")
    make(postgres, owned, "INSERT INTO a VALUES (1); INSERT INTO b VALUES (1); INSERT INTO c VALUES (1)")
    read_all = row_counts.DatabaseSnapshot.read_all

    async def after_changes(self: row_counts.DatabaseSnapshot) -> dict[str, str]:
        with postgres.login(owned) as session, session.transaction():
            session.execute("TRUNCATE b; ALTER TABLE c DROP COLUMN x; INSERT INTO b VALUES (2)")
        with postgres.login(owned) as session, session.transaction():
            session.execute("LOCK TABLE a IN ACCESS EXCLUSIVE MODE")
            return await read_all(self)

    monkeypatch.setattr(row_counts.DatabaseSnapshot, "read_all", after_changes)
    made = dump(postgres, owned, tmp_path / "a.sql")
    assert made.tables == {"a": 1, "b": 1, "c": 1}
    assert made.checksums == {}
    prove(postgres, owned, made)
