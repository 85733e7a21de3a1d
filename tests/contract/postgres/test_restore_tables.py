"""Some tables come back out of a backup into the live database: whole, in one transaction, and all else stays."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psycopg
import pytest

from ikoma.errors import AppBusy, IkomaError, RestoreFailed, TableMissing, TablesDiffer, TablesUnmatched
from ikoma.model import AppName
from ikoma.ports.databases import Credentials, RestoredTables
from ikoma.ports.progress import ignore_progress
from tests.contract.postgres.conftest import Postgres
from tests.contract.postgres.test_dump import content
from tests.support import eventually

ZOO = r"""
CREATE SCHEMA "sa les"; CREATE TYPE mood AS ENUM ('sad', 'it''s');
CREATE TABLE users (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, "a ""b"".c" mood,
    upper_name text GENERATED ALWAYS AS (upper(name)) STORED, long_name text GENERATED ALWAYS AS (name || name) VIRTUAL,
    at timestamptz, gap interval, f float8, b bytea, j jsonb, r int4range, m money, ip inet[]);
CREATE TABLE orders (id serial PRIMARY KEY, user_id bigint CONSTRAINT buyer REFERENCES users ON DELETE CASCADE, n int);
COMMENT ON CONSTRAINT buyer ON orders IS 'who bought; it''s';
CREATE TABLE "sa les"."Odd; ""name" (id int PRIMARY KEY, parent int REFERENCES "sa les"."Odd; ""name"
    DEFERRABLE INITIALLY DEFERRED, pos int UNIQUE DEFERRABLE INITIALLY DEFERRED, "from" int);
ALTER TABLE "sa les"."Odd; ""name" ADD FOREIGN KEY ("from") REFERENCES users NOT VALID;
CREATE TABLE a (id int PRIMARY KEY, b int); CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a);
ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b DEFERRABLE;
CREATE TABLE days (day date NOT NULL, n int, user_id bigint REFERENCES users) PARTITION BY RANGE (day);
CREATE TABLE days_old PARTITION OF days FOR VALUES FROM ('2020-01-01') TO ('2025-01-01');
CREATE TABLE days_new PARTITION OF days DEFAULT;
CREATE TABLE base (id int); CREATE TABLE child (more text) INHERITS (base);
CREATE TABLE secret (id int, t text); ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
ALTER TABLE secret FORCE ROW LEVEL SECURITY; CREATE POLICY p ON secret USING (id < 0);
CREATE TABLE none (); CREATE TABLE log (what text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO log VALUES (TG_TABLE_NAME || TG_NAME || TG_OP); RETURN NEW; END $$;
CREATE TRIGGER "tr; 1" BEFORE INSERT OR UPDATE ON users FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER trunc AFTER TRUNCATE ON users EXECUTE FUNCTION note();
CREATE TRIGGER always AFTER INSERT ON users FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER never AFTER INSERT ON users FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER on_days AFTER INSERT ON days FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER on_part AFTER INSERT ON days_new FOR EACH ROW EXECUTE FUNCTION note();
ALTER TABLE users ENABLE ALWAYS TRIGGER always, DISABLE TRIGGER never;
INSERT INTO users (name, "a ""b"".c", at, gap, f, b, j, r, m, ip)
    SELECT 'É' || n, 'it''s', '2026-01-01 00:00:00.123456+02', '1 mon -3 days', 0.1 + n, '\x00ff',
        '{"a": "\n\t\\"}', '[1,5)', 12.34, '{127.0.0.1,::1}'
    FROM generate_series(1, 50) n;
INSERT INTO orders (user_id, n) SELECT 1 + n % 50, n FROM generate_series(1, 200) n;
INSERT INTO "sa les"."Odd; ""name" VALUES (1, 2, 1, 3), (2, 1, 2, NULL);
INSERT INTO a VALUES (1, NULL); INSERT INTO b VALUES (1, 1); UPDATE a SET b = 1;
INSERT INTO days SELECT '2024-12-01'::date + n, n, 1 FROM generate_series(1, 60) n;
INSERT INTO base VALUES (1); INSERT INTO child VALUES (2, 'x');
INSERT INTO secret SELECT n, 'x' FROM generate_series(-5, -1) n;
ALTER TABLE secret NO FORCE ROW LEVEL SECURITY; INSERT INTO secret VALUES (7, 'hidden');
ALTER TABLE secret FORCE ROW LEVEL SECURITY; INSERT INTO none DEFAULT VALUES; INSERT INTO none DEFAULT VALUES;
TRUNCATE log;
"""
ODD = 'sa les.Odd; "name'
SPOIL = r"""
DELETE FROM orders WHERE id > 150; DELETE FROM users WHERE id > 40; UPDATE users SET name = 'gone' WHERE id < 10;
INSERT INTO orders (user_id, n) VALUES (1, 9999); TRUNCATE "sa les"."Odd; ""name", days, none;
DELETE FROM ONLY base; UPDATE child SET more = 'kept'; DELETE FROM secret; INSERT INTO log VALUES ('since');
UPDATE a SET b = NULL; DELETE FROM b; TRUNCATE log;
"""
ALL = ["users", "orders", ODD, "a", "b", "public.days", "base", "secret", "none"]


async def keep_nothing(_: int, changed: bool) -> None:
    """Stands for a backup of what is there."""


@pytest.fixture
def filled(postgres: Postgres, owned: Credentials) -> Credentials:
    do(postgres, owned, ZOO)
    return owned


def do(postgres: Postgres, owned: Credentials, text: str) -> None:
    with postgres.login(owned) as session:
        session.execute(text.encode())


def ask(postgres: Postgres, owned: Credentials, text: str) -> list[Any]:
    with postgres.login(owned) as session:
        return session.execute(text.encode()).fetchall()


@contextmanager
def saved(postgres: Postgres, owned: Credentials, folder: Path) -> Iterator[Callable[..., RestoredTables]]:
    """A backup of what the database holds now, out of which tables are restored in the block."""
    app = AppName(owned.role)
    dump = postgres.do(postgres.databases.dump(app, folder / f"{time.monotonic_ns()}.sql", progress=ignore_progress))

    def restore(
        *names: str,
        kept: Mapping[str, str] = MappingProxyType({}),
        keep: Callable[[int, bool], Awaitable[None]] = keep_nothing,
        lock_timeout: float = 0.3,
    ) -> RestoredTables:
        async def work() -> RestoredTables:
            async with postgres.databases.make_beside(owned) as place:
                await postgres.databases.fill(
                    place, dump, of=app, work=folder / "w", what="No", progress=ignore_progress
                )
                return await postgres.databases.restore_tables(
                    owned, place, names, kept=kept, keep=keep, lock_timeout=lock_timeout
                )

        done: RestoredTables = postgres.do(work())
        return done

    yield restore


def rest(text: str) -> str:
    """A dump without the values of sequences, which never go back."""
    return "\n".join(line for line in text.splitlines() if "setval" not in line)


def test_all_kinds_of_tables_come_back_and_nothing_else_changes(
    postgres: Postgres, app: AppName, filled: Credentials, tmp_path: Path
) -> None:
    before = content(postgres, app)
    with saved(postgres, filled, tmp_path) as restore:
        do(postgres, filled, SPOIL)
        assert rest(content(postgres, app)) != rest(before)
        done = restore(*ALL)
    assert done.rows == {
        "users": 50,
        "orders": 200,
        ODD: 2,
        "a": 1,
        "b": 1,
        "days": 60,
        "base": 1,
        "secret": 6,
        "none": 2,
    }
    do(postgres, filled, "UPDATE child SET more = 'x'")
    assert rest(content(postgres, app)) == rest(before)
    assert ask(postgres, filled, "SELECT count(*) FROM log") == [(0,)], "no trigger fired"
    assert ask(postgres, filled, "INSERT INTO orders (user_id, n) VALUES (1, 1) RETURNING id")[0][0] > 201
    do(postgres, filled, "INSERT INTO users (name) VALUES ('new'); INSERT INTO days VALUES ('2026-01-01', 1, 1)")
    fired = {row[0] for row in ask(postgres, filled, "SELECT what FROM log")}
    assert fired == {"userstr; 1INSERT", "usersalwaysINSERT", "days_newon_daysINSERT", "days_newon_partINSERT"}
    assert postgres.do(postgres.databases.read_outcome(done.transaction)) == "committed"
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        do(postgres, filled, "INSERT INTO orders (user_id) VALUES (-1)")


def test_one_table_comes_back_beside_others_that_refer_to_it(
    postgres: Postgres, filled: Credentials, tmp_path: Path
) -> None:
    with saved(postgres, filled, tmp_path) as restore:
        do(postgres, filled, "DELETE FROM users WHERE id > 40; INSERT INTO orders (user_id, n) VALUES (2, 7777)")
        restore("users")
    assert ask(postgres, filled, "SELECT count(*), count(upper_name) FROM users") == [(50, 50)]
    assert ask(postgres, filled, "SELECT count(*) FROM orders WHERE n = 7777") == [(1,)]


def test_a_sequence_goes_forward_and_never_back(postgres: Postgres, owned: Credentials, tmp_path: Path) -> None:
    do(
        postgres,
        owned,
        "CREATE TABLE up (id serial);"
        "CREATE TABLE down (id int GENERATED BY DEFAULT AS IDENTITY (INCREMENT -1 MAXVALUE 10));"
        "CREATE TABLE fresh (id serial); INSERT INTO up SELECT FROM generate_series(1, 30);"
        "INSERT INTO down SELECT FROM generate_series(1, 5)",
    )
    with saved(postgres, owned, tmp_path) as restore:
        do(
            postgres,
            owned,
            "ALTER SEQUENCE up_id_seq RESTART; ALTER SEQUENCE down_id_seq RESTART; INSERT INTO fresh DEFAULT VALUES",
        )
        restore("up", "down", "fresh")
    assert ask(postgres, owned, "INSERT INTO up DEFAULT VALUES RETURNING id") == [(31,)]
    assert ask(postgres, owned, "INSERT INTO down DEFAULT VALUES RETURNING id") == [(5,)]
    assert ask(postgres, owned, "INSERT INTO fresh DEFAULT VALUES RETURNING id") == [(2,)]


REFUSED: list[tuple[str, list[str], type[IkomaError], str]] = [
    ("SELECT 1", ["user"], TableMissing, "users"),
    ("SELECT 1", ["log", "nowhere.at_all"], TableMissing, "db.status"),
    ("CREATE TABLE since (id int)", ["since"], TableMissing, "backup"),
    ("DROP TABLE log", ["log"], TableMissing, "database"),
    ("SELECT 1", ["days_old"], TablesDiffer, "days"),
    ("ALTER TABLE log ADD extra int", ["log"], TablesDiffer, "extra is a column now, and not there"),
    ("ALTER TABLE log RENAME what TO which", ["log"], TablesDiffer, "what is a column there, and not now"),
    (
        "ALTER TABLE log ALTER what TYPE varchar(20)",
        ["log"],
        TablesDiffer,
        "what is character varying(20) now, and text there",
    ),
    ("ALTER TABLE users ALTER upper_name DROP EXPRESSION", ["users"], TablesDiffer, "upper_name is not generated now"),
    ("DELETE FROM orders; DELETE FROM days; DELETE FROM users WHERE id = 4", ["orders"], TablesUnmatched, "Add users"),
    ("DELETE FROM days; DELETE FROM users WHERE id = 1", ["days"], TablesUnmatched, "Add users"),
    (
        "INSERT INTO users (name) VALUES ('x'); INSERT INTO days VALUES ('2024-01-01', 1, 51)",
        ["users"],
        TablesUnmatched,
        "Add days",
    ),
    ("ALTER TABLE log ADD CHECK (what = 'new') NOT VALID", ["log"], RestoreFailed, "violates check constraint"),
]


@pytest.mark.parametrize(("change", "names", "kind", "said"), REFUSED, ids=lambda value: str(value)[:30])
def test_what_does_not_fit_is_refused_and_changes_nothing(
    postgres: Postgres,
    app: AppName,
    filled: Credentials,
    tmp_path: Path,
    change: str,
    names: list[str],
    kind: type[IkomaError],
    said: str,
) -> None:
    do(postgres, filled, "INSERT INTO log VALUES ('old')")
    with saved(postgres, filled, tmp_path) as restore:
        do(postgres, filled, f"{change}; UPDATE b SET a = NULL")
        before = content(postgres, app)
        with pytest.raises(kind) as refused:
            restore("b", *names)
    assert said in f"{refused.value.message} {refused.value.hint}"
    assert content(postgres, app) == before


@pytest.mark.parametrize(
    ("since", "is_told"),
    [
        ("SELECT 1", False),
        ("INSERT INTO log VALUES ('of a table that stays')", False),
        ("DELETE FROM users WHERE id = 50; ", True),
        ("UPDATE secret SET t = 'seen through row security' WHERE id = -1", True),
        ("UPDATE days SET n = 99 WHERE day = '2025-01-05'", True),
        ("ALTER TABLE users ADD COLUMN since int DEFAULT 7", True),
    ],
)
def test_what_was_written_since_the_tables_were_backed_up_is_told(
    postgres: Postgres, app: AppName, filled: Credentials, tmp_path: Path, since: str, is_told: bool
) -> None:
    told: list[bool] = []

    async def keep(_: int, changed: bool) -> None:
        told.append(changed)
        raise RestoreFailed("that is all")

    do(postgres, filled, "INSERT INTO secret VALUES (-1, 'x')")
    before = postgres.do(
        postgres.databases.dump(app, tmp_path / "before.sql", summed=True, progress=ignore_progress)
    ).checksums
    do(postgres, filled, since)
    with saved(postgres, filled, tmp_path) as restore, pytest.raises(RestoreFailed, match="that is all"):
        restore("users", "secret", "days", "orders", kept=before, keep=keep)
    assert told == [is_told]


def test_who_writes_waits_from_before_the_rows_are_compared_on_and_who_reads_does_not(
    postgres: Postgres, filled: Credentials, tmp_path: Path
) -> None:
    seen: list[int] = []

    def write() -> None:
        with postgres.login(filled) as session:
            session.execute("INSERT INTO log VALUES ('late')")
            seen.append(len(session.execute("SELECT * FROM log").fetchall()))

    writer = threading.Thread(target=write)

    async def keep(_: int, changed: bool) -> None:
        writer.start()
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'INSERT INTO log%'"
        )
        eventually(lambda: ask(postgres, filled, waiting) == [(1,)])
        assert ask(postgres, filled, "SELECT count(*) FROM log") == [(1,)], "who reads goes on"

    with saved(postgres, filled, tmp_path) as restore:
        do(postgres, filled, "INSERT INTO log VALUES ('since')")
        restore("log", keep=keep)
        writer.join()
    assert ask(postgres, filled, "SELECT what FROM log") == [("late",)]


def test_a_session_in_the_way_is_waited_for_in_turns_and_then_told(
    postgres: Postgres, filled: Credentials, tmp_path: Path
) -> None:
    with saved(postgres, filled, tmp_path) as restore, postgres.login(filled) as other:
        other.execute("BEGIN; INSERT INTO log VALUES ('mine')")
        with pytest.raises(AppBusy) as refused:
            restore("log", lock_timeout=0.3)
        assert re.search("In the way: process .*tried 4 times", refused.value.message)
        other.execute("COMMIT")
    assert ask(postgres, filled, "SELECT what FROM log") == [("mine",)]


def test_who_has_read_and_now_wants_to_write_is_no_deadlock(
    postgres: Postgres, filled: Credentials, tmp_path: Path
) -> None:
    ended: list[str] = []
    began = threading.Event()

    def read_then_write() -> None:
        with postgres.login(filled) as session:
            session.execute("BEGIN; SELECT * FROM users")
            began.set()
            try:
                session.execute("UPDATE users SET name = 'mine'")
            except psycopg.Error as error:
                ended.append(type(error).__name__)

    reader = threading.Thread(target=read_then_write)

    async def keep(_: int, changed: bool) -> None:
        reader.start()
        began.wait(60)

    with saved(postgres, filled, tmp_path) as restore:
        restore("users", keep=keep)
        reader.join()
    assert ended == ["AdminShutdown"]
    assert ask(postgres, filled, "SELECT count(*) FROM users WHERE name = 'mine'") == [(0,)]


def test_a_backup_that_fails_leaves_every_row(
    postgres: Postgres, app: AppName, filled: Credentials, tmp_path: Path
) -> None:
    numbers: list[int] = []

    async def keep(transaction: int, changed: bool) -> None:
        numbers.append(transaction)
        raise RestoreFailed("no room")

    with saved(postgres, filled, tmp_path) as restore:
        do(postgres, filled, SPOIL)
        before = content(postgres, app)
        with pytest.raises(RestoreFailed, match="no room"):
            restore(*ALL, keep=keep)
    assert content(postgres, app) == before
    assert postgres.do(postgres.databases.read_outcome(numbers[0])) == "aborted"
