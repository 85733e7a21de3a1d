"""Databases' promises about queries: values as JSON has them, no more than asked for, and an end in time."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import orjson
import psycopg
import pytest

from ikoma.errors import DatabasesUnavailable, NotAQuery, QueryFailed, QueryTimeout, QueryTooLarge
from ikoma.model import Secret
from ikoma.ports.databases import Credentials, QueryRows
from tests.contract.postgres.conftest import Postgres
from tests.support import eventually


def ask(postgres: Postgres, owned: Credentials, sql: str, *, limit: int = 100, timeout: float = 10) -> QueryRows:
    found: QueryRows = postgres.do(postgres.databases.query(owned, sql, limit=limit, timeout=timeout))
    return found


def sessions(postgres: Postgres, owned: Credentials) -> int:
    with postgres.admin() as session:
        row = session.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = %s", (owned.role,)).fetchone()
    assert row is not None
    return int(row[0])


# --- values ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "kind", "value"),
    [
        ("true", "boolean", True),
        ("1::int2", "smallint", 1),
        ("9223372036854775807", "bigint", 9223372036854775807),
        ("0.1::float8", "double precision", 0.1),
        ("'nan'::float8", "double precision", "NaN"),
        ("'-infinity'::float4", "real", "-Infinity"),
        ("0.10::numeric(10,2)", "numeric(10,2)", "0.10"),
        ("'NaN'::numeric", "numeric", "NaN"),
        ("NULL::int", "integer", None),
        ("'null'::jsonb", "jsonb", None),
        ("'a b'::varchar(20)", "character varying(20)", "a b"),
        ("'2026-01-02'::date", "date", "2026-01-02"),
        ("'infinity'::timestamptz", "timestamp with time zone", "infinity"),
        ("'1 day 02:00'::interval", "interval", "1 day 02:00:00"),
        ("'\\x00ff'::bytea", "bytea", "\\x00ff"),
        ("'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid", "uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("ARRAY[1,NULL]", "integer[]", "{1,NULL}"),
        ("ROW(1,'x')", "record", "(1,x)"),
        ("'[1,3)'::int4range", "int4range", "[1,3)"),
        ("""'{"a": [1, 2.5, "ü", null]}'::jsonb""", "jsonb", {"a": [1, 2.5, "ü", None]}),
        ("'1e400'::json", "json", "1e400"),
        ("'123456789012345678901234567890'::json", "json", "123456789012345678901234567890"),
        (r"""'"\ud800"'::json""", "json", r'"\ud800"'),
        ("(repeat('[', 300) || repeat(']', 300))::json", "json", "[" * 300 + "]" * 300),
        ("E'line\\nü🎈'", "text", "line\nü🎈"),
    ],
)
def test_a_value_is_what_json_or_psql_says(
    postgres: Postgres, owned: Credentials, expression: str, kind: str, value: Any
) -> None:
    found = ask(postgres, owned, f"SELECT {expression} AS it")
    assert (found.columns, found.types, found.rows) == (("it",), (kind,), [[value]])
    orjson.dumps(found.rows)


def test_columns_keep_their_names_and_order_also_without_rows(postgres: Postgres, owned: Credentials) -> None:
    found = ask(postgres, owned, 'SELECT 1 AS a, 2 AS a, 3 AS "A ü" WHERE false')
    assert (found.columns, found.rows, found.truncated) == (("a", "a", "A ü"), [], False)
    assert ask(postgres, owned, "SELECT").columns == ()


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("VALUES (1, 'x'), (2, 'y')", [[1, "x"], [2, "y"]]),
        ("TABLE pg_catalog.pg_tables LIMIT 0", []),
        (
            "WITH RECURSIVE t(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM t WHERE n < 3) SELECT * FROM t",
            [[1], [2], [3]],
        ),
        ("(SELECT 1) UNION ALL (SELECT 2)", [[1], [2]]),
        ("-- first\n/* a /* nested */ one */ SELECT 1 ; -- and ; last", [[1]]),
        ("SELECT ';'", [[";"]]),
        ("SELECT '%s', 5 % 2", [["%s", 1]]),
        ("SHOW server_encoding", [["UTF8"]]),
        ("select $tag$;$tag$", [[";"]]),
    ],
)
def test_what_reads_is_answered(postgres: Postgres, owned: Credentials, sql: str, rows: list[Any]) -> None:
    assert ask(postgres, owned, sql).rows == rows


def test_explain_shows_the_plan(postgres: Postgres, owned: Credentials) -> None:
    found = ask(postgres, owned, "EXPLAIN (COSTS OFF) SELECT 1")
    assert (found.columns, found.types, found.rows) == (("QUERY PLAN",), ("text",), [["Result"]])
    assert ask(postgres, owned, "EXPLAIN (FORMAT json) SELECT 1").types == ("json",)
    for words in ("ANALYZE", "analyze verbose", "(ANALYZE, BUFFERS off)", "(ANALYZE)\n"):
        assert "actual" in ask(postgres, owned, f"EXPLAIN {words} WITH t AS (VALUES (1)) TABLE t").rows[0][0]


def test_it_sees_the_apps_rows_as_the_app(postgres: Postgres, owned: Credentials) -> None:
    with postgres.login(owned) as session:
        session.execute("CREATE TABLE t AS SELECT n FROM generate_series(1, 5) AS n")
    assert ask(postgres, owned, "SELECT n, current_user, session_user FROM t", limit=1).rows == [
        [1, owned.role, owned.role]
    ]


# --- no more than asked for --------------------------------------------------------------------------------


def test_rows_beyond_the_limit_are_said_and_not_sent(postgres: Postgres, owned: Credentials) -> None:
    found = ask(postgres, owned, "SELECT generate_series(1, 1000000000)", limit=3)
    assert (found.rows, found.truncated) == ([[1], [2], [3]], True)
    found = ask(postgres, owned, "SELECT generate_series(1, 3)", limit=3)
    assert (len(found.rows), found.truncated) == (3, False)
    assert ask(postgres, owned, "SHOW ALL", limit=5).truncated


def test_an_answer_holds_a_mebibyte(postgres: Postgres, owned: Credentials) -> None:
    found = ask(postgres, owned, "SELECT repeat('x', 1000) FROM generate_series(1, 9000)", limit=10_000)
    assert found.truncated
    assert 900_000 < len(orjson.dumps(found.rows)) <= 1 << 20
    assert not ask(postgres, owned, "SELECT n FROM generate_series(1, 10000) AS n", limit=10_000).truncated


def test_control_characters_count_as_json_writes_them(postgres: Postgres, owned: Credentials) -> None:
    found = ask(postgres, owned, "SELECT repeat(E'\\x01', 1000) FROM generate_series(1, 1000)", limit=10_000)
    assert len(orjson.dumps(found.rows)) <= 1 << 20


@pytest.mark.parametrize("megabytes", [2, 300])
def test_one_huge_row_is_refused_and_not_read(postgres: Postgres, owned: Credentials, megabytes: int) -> None:
    import psutil

    before = psutil.Process().memory_info().rss
    with pytest.raises(QueryTooLarge):
        ask(postgres, owned, f"SELECT repeat('x', {megabytes} << 20)", timeout=60)
    assert psutil.Process().memory_info().rss - before < 64 << 20
    sql = f"SELECT repeat('x', n * ({megabytes} << 20)) FROM generate_series(0, 1) AS n"
    found = ask(postgres, owned, sql, timeout=60)
    assert (found.rows, found.truncated) == ([[""]], True)


# --- an end in time ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT pg_sleep(60)",
        "WITH RECURSIVE t AS (SELECT 1 UNION ALL SELECT 1 FROM t) SELECT count(*) FROM t",
        "SELECT count(*) FROM generate_series(1, 1000000000000)",
        "EXPLAIN ANALYZE SELECT pg_sleep(60)",
        "SELECT set_config('statement_timeout', '0', false), pg_sleep(60)",
    ],
)
def test_what_takes_too_long_is_ended(postgres: Postgres, owned: Credentials, sql: str) -> None:
    with pytest.raises(QueryTimeout):
        ask(postgres, owned, sql, timeout=1)


def test_a_function_that_catches_the_end_is_ended_all_the_same(postgres: Postgres, owned: Credentials) -> None:
    with postgres.login(owned) as session:
        session.execute(
            """
            CREATE FUNCTION stay() RETURNS int LANGUAGE plpgsql AS $$
            BEGIN
                LOOP
                    BEGIN PERFORM pg_sleep(60); EXCEPTION WHEN query_canceled THEN NULL; END;
                END LOOP;
            END $$
            """
        )
    with pytest.raises(QueryTimeout):
        ask(postgres, owned, "SELECT stay()", timeout=1)

    async def until_gone() -> None:
        async with asyncio.timeout(120):
            while await asyncio.to_thread(sessions, postgres, owned):
                await asyncio.sleep(0.05)

    postgres.do(until_gone())


def test_a_query_that_nobody_waits_for_is_ended(postgres: Postgres, owned: Credentials) -> None:
    async def leave() -> None:
        asking = asyncio.ensure_future(postgres.databases.query(owned, "SELECT pg_sleep(60)", limit=1, timeout=60))
        async with asyncio.timeout(120):
            while not await asyncio.to_thread(sessions, postgres, owned):
                await asyncio.sleep(0.05)
            asking.cancel()
            while await asyncio.to_thread(sessions, postgres, owned):
                await asyncio.sleep(0.05)

    postgres.do(leave())


def test_a_lock_of_the_app_is_not_waited_for_longer(postgres: Postgres, owned: Credentials) -> None:
    with postgres.login(owned) as session:
        session.execute("CREATE TABLE t ()")  # by itself, or others would see none
        session.execute("BEGIN; LOCK TABLE t")
        with pytest.raises((QueryTimeout, QueryFailed)):
            ask(postgres, owned, "SELECT * FROM t", timeout=1)


def test_many_queries_at_once_leave_the_app_its_sessions(postgres: Postgres, owned: Credentials) -> None:
    async def all_at_once() -> int:
        with postgres.login(owned) as holder:  # until it lets go none of them ends: ended ones are on the list a while
            holder.execute("CREATE TABLE t ()")
            holder.execute("BEGIN; LOCK TABLE t")
            asking = [
                asyncio.ensure_future(postgres.databases.query(owned, "SELECT count(*) FROM t", limit=1, timeout=60))
                for _ in range(12)
            ]
            await asyncio.to_thread(eventually, lambda: sessions(postgres, owned) == 5)
            most = max([await asyncio.to_thread(sessions, postgres, owned) for _ in range(20)])
            holder.execute("COMMIT")
        for one in asking:
            assert (await one).rows == [[0]]
        return most

    assert postgres.do(all_at_once()) == 5  # the holder's is one


def test_text_that_no_parser_comes_through_keeps_nobody_waiting(postgres: Postgres, owned: Credentials) -> None:
    async def together() -> list[Any]:
        hostile = [postgres.databases.query(owned, "/*" * 100_000, limit=1, timeout=1) for _ in range(8)]
        asking = asyncio.gather(*hostile, return_exceptions=True)
        async with asyncio.timeout(120):
            await asyncio.to_thread(str)  # the threads that others use are free
            return await asking

    assert [type(answer) for answer in postgres.do(together())] == [NotAQuery] * 8


# --- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sql",
    [
        "",
        " ; -- nothing",
        "SELECT 1; SELECT 2",
        "SELECT 1; DROP TABLE t",
        "INSERT INTO t VALUES (1)",
        "DO $$ BEGIN END $$",
        "CALL f()",
        "COPY (SELECT 1) TO STDOUT",
        "BEGIN",
        "COMMIT",
        "SET ROLE ikoma",
        "PREPARE p AS SELECT 1",
        "DECLARE c CURSOR FOR SELECT 1",
        "WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x",
        "SELECT 1\0; SELECT 2",
        "EXPLAIN INSERT INTO t VALUES (1)",
        "EXPLAIN ANALYZE CREATE TABLE t AS SELECT 1",
        "EXPLAIN (ANALYZE, VERBOSE) EXECUTE p",
        "EXPLAIN",
    ],
)
def test_what_is_not_one_reading_statement_is_told_apart(postgres: Postgres, owned: Credentials, sql: str) -> None:
    with pytest.raises(NotAQuery):
        ask(postgres, owned, sql)


def test_an_error_has_postgresqls_words_and_its_line(postgres: Postgres, owned: Credentials) -> None:
    with pytest.raises(QueryFailed) as caught:
        ask(postgres, owned, "-- a comment\nSELECT 1,\n  nothing")
    error = caught.value
    assert error.message == 'column "nothing" does not exist.'
    assert (error.details["sqlstate"], error.details["line"]) == ("42703", 3)
    assert "nothing" not in error.audit_message
    for sql, line in (
        ("EXPLAIN ANALYZE\nSELECT 1,\n  nothing", 3),
        ("SELECT 1)\nTO STDOUT", 1),
        ("\nSHOW nothing x", 2),
    ):
        with pytest.raises(QueryFailed) as caught:
            ask(postgres, owned, sql)
        assert caught.value.details["line"] == line
    with pytest.raises(QueryFailed) as caught:
        ask(postgres, owned, "SELECT 1 / (n - 3) FROM generate_series(1, 5) AS n")
    assert caught.value.details["sqlstate"] == "22012"


def test_a_long_error_is_cut(postgres: Postgres, owned: Credentials) -> None:
    with postgres.login(owned) as session:
        body = "BEGIN RAISE EXCEPTION '%', repeat('x', 1000000); END"
        session.execute(f"CREATE FUNCTION shout() RETURNS int LANGUAGE plpgsql AS $${body}$$".encode())
    with pytest.raises(QueryFailed) as caught:
        ask(postgres, owned, "SELECT shout()")
    assert caught.value.message == "…[cut]."


def test_a_write_is_refused_with_a_way_to_write(postgres: Postgres, owned: Credentials) -> None:
    with postgres.login(owned) as session:
        session.execute("CREATE FUNCTION make() RETURNS int LANGUAGE sql AS 'CREATE TABLE made (); SELECT 1'")
    with pytest.raises(QueryFailed) as caught:
        ask(postgres, owned, "SELECT make()")
    assert caught.value.details["sqlstate"] == "25006"
    assert "db.migrate" in caught.value.hint


def test_a_wrong_password_is_a_server_that_is_away(postgres: Postgres, owned: Credentials) -> None:
    wrong = Credentials(owned.database, owned.role, Secret("wrong"))
    with pytest.raises(DatabasesUnavailable):
        ask(postgres, wrong, "SELECT 1")


def test_a_session_ended_by_itself_is_a_failure_of_the_query(postgres: Postgres, owned: Credentials) -> None:
    with pytest.raises(QueryFailed):
        ask(postgres, owned, "SELECT pg_terminate_backend(pg_backend_pid())")
    assert ask(postgres, owned, "SELECT 1").rows == [[1]]


def test_nothing_stays_open(postgres: Postgres, owned: Credentials) -> None:
    ask(postgres, owned, "SELECT pg_advisory_lock(1)")
    with postgres.login(owned) as session, session.transaction():
        assert session.execute("SELECT pg_try_advisory_xact_lock(1)").fetchone() == (True,)
    assert not math.isnan(ask(postgres, owned, "SELECT 1.5::float4").rows[0][0])
    with pytest.raises(psycopg.Error), postgres.login(owned) as session:
        session.execute("FETCH 1 FROM ikoma_query")
