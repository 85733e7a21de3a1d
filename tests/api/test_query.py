"""db.query from outside: who may ask, what is answered, and what the audit log keeps of it."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support import Server

SECRET = "nobody-may-read-this"


@pytest.fixture(scope="module")
def app(server: Server) -> str:
    server.do("apps.init", {"appName": "asked"})
    server.do("db.create", {"appName": "asked"})
    server.do("db.migrate", {"appName": "asked", "sql": "CREATE TABLE t (id int, price numeric(10,2), body jsonb)"})
    server.do(
        "db.seed", {"appName": "asked", "sql": "INSERT INTO t SELECT n, n, '[1]' FROM generate_series(1, 150) AS n"}
    )
    return "asked"


def test_rows_come_with_their_columns_and_types(server: Server, app: str) -> None:
    assert server.do("db.query", {"appName": app, "sql": "SELECT * FROM t ORDER BY id", "limit": 1}) == {
        "columns": ["id", "price", "body"],
        "types": ["integer", "numeric(10,2)", "jsonb"],
        "rows": [[1, "1.00", [1]]],
        "rowCount": 1,
        "truncated": True,
    }
    assert server.do("db.query", {"appName": app, "sql": "TABLE t"})["rowCount"] == 100


def test_an_operator_may_ask_and_an_observer_may_not(server: Server, app: str) -> None:
    asked = {"appName": app, "sql": "SELECT 1"}
    assert server.call("db.query", asked, role="operator").result["rows"] == [[1]]
    assert server.call("db.query", asked, role="observer").code == "role_too_low"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"sql": "SELECT 1; SELECT 2"}, "not_a_query"),
        ({"sql": "SELECT nothing"}, "query_failed"),
        ({"sql": "SELECT pg_sleep(30)", "timeout": 1}, "query_timeout"),
        ({"sql": "SELECT repeat('x', 20000000)"}, "query_too_large"),
        ({"sql": "SELECT 1", "limit": 10_001}, "invalid_arguments"),
        ({"sql": "SELECT 1", "limit": 0}, "invalid_arguments"),
        ({"sql": "SELECT 1", "timeout": 61}, "invalid_arguments"),
        ({}, "invalid_arguments"),
    ],
)
def test_what_is_refused_says_why(server: Server, app: str, arguments: dict[str, object], code: str) -> None:
    assert server.call("db.query", {"appName": app, **arguments}).code == code


def test_waiting_for_other_queries_of_the_app_is_no_part_of_a_querys_time(server: Server, app: str) -> None:
    asked = {"appName": app, "sql": "SELECT pg_sleep(1)", "timeout": 10}
    with ThreadPoolExecutor(48) as pool:  # four at once, and the last ones wait for longer than they may take
        answers = list(pool.map(lambda _: server.call("db.query", asked).status, range(48)))
    assert answers == [200] * 48


def test_an_app_without_a_database_is_told(server: Server) -> None:
    server.do("apps.init", {"appName": "bare"})
    assert server.call("db.query", {"appName": "bare", "sql": "SELECT 1"}).code == "database_missing"


def test_neither_sql_nor_rows_reach_the_audit_log(server: Server, app: str) -> None:
    server.do("db.query", {"appName": app, "sql": f"SELECT '{SECRET}'"})
    server.call("db.query", {"appName": app, "sql": f"SELECT '{SECRET}'::int"})
    assert SECRET not in json.dumps(server.audit())
    assert SECRET not in server.log()


def test_the_command_line_asks_too(server: Server, app: str) -> None:
    done = server.cli("query", app, "--json", input="SELECT count(*) FROM t")
    assert (done.returncode, json.loads(done.stdout)["rows"]) == (0, [[150]])
    done = server.cli("query", app, input="SELECT id, body FROM t LIMIT 2")
    assert done.returncode == 0, done.stderr


def test_a_role_that_changed_its_password_is_let_in_again_as_the_error_says(server: Server) -> None:
    app = {"appName": "locked-out"}
    server.do("apps.init", app)
    server.do("db.create", app)
    server.do("db.migrate", {**app, "sql": "ALTER ROLE CURRENT_USER PASSWORD 'another-one'"})
    refused = server.call("db.query", {**app, "sql": "SELECT 1"})
    assert refused.code == "postgres_unavailable"
    assert "db.create" in refused.body["hint"]
    server.do("db.create", app)
    assert server.do("db.query", {**app, "sql": "SELECT 1"})["rows"] == [[1]]
