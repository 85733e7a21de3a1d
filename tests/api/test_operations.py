"""Operations by HTTP: 202 with an id, a retry that is done once, a cancel, and what a client that goes leaves."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests import support
from tests.support import Server, eventually


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with support.server() as started:
        started.do("apps.init", {"appName": "ops-a"})
        started.do("db.create", {"appName": "ops-a"})
        yield started


def sleeping(seconds: float, **more: object) -> dict[str, object]:
    return {"appName": "ops-a", "sql": f"SELECT pg_sleep({seconds})", **more}


LASTING = "DO $$ BEGIN WHILE NOT pg_try_advisory_xact_lock(1) LOOP PERFORM pg_sleep(0.05); END LOOP; END $$"


@contextmanager
def lasting(server: Server) -> Iterator[dict[str, object]]:
    """Arguments of a db.seed that takes as long as the block."""
    with server.login("ops-a") as session:
        session.execute("SELECT pg_advisory_lock(1)")
        yield {"appName": "ops-a", "sql": LASTING}


def test_a_call_that_may_not_take_long_answers_with_an_operation(server: Server) -> None:
    with lasting(server) as asked:
        answer = server.call("db.seed", asked, headers={"Prefer": "respond-async, wait=0"})
        assert answer.status == 202
        operation = answer.body["result"]["operationId"]
        assert operation == answer.body["requestId"]
        assert server.do("operations.get", {"operationId": operation})["state"] == "running"
    ended = server.do("operations.wait", {"operationId": operation})
    assert (ended["state"], ended["result"]["success"]) == ("succeeded", True)
    assert server.call("db.seed", sleeping(0.1, wait=120)).status == 200


def test_a_retry_with_the_header_is_done_once(server: Server) -> None:
    sql = "CREATE TABLE IF NOT EXISTS once (n int); INSERT INTO once VALUES (1)"
    for _ in range(3):
        server.do("db.seed", {"appName": "ops-a", "sql": sql}, headers={"Idempotency-Key": "retry-1"})
    assert server.do("db.backup", {"appName": "ops-a"})["tables"]["once"] == 1
    other = server.call("db.seed", sleeping(0), headers={"Idempotency-Key": "retry-1"})
    assert (other.status, other.code) == (409, "idempotency_mismatch")


def test_cancelling_leaves_nothing_half_done_and_no_lock(server: Server) -> None:
    with lasting(server) as asked:
        sql = f"CREATE TABLE half (n int); {asked['sql']}"
        started = server.call("db.seed", {"appName": "ops-a", "sql": sql, "wait": 0}).body["result"]
        busy = server.call("db.seed", sleeping(0))
        assert busy.code == "app_busy"
        assert started["operationId"] in busy.body["error"]
        assert busy.body["details"]["operationId"] == started["operationId"]
        waits = {"capability": "operations.wait", "arguments": {"operationId": started["operationId"]}}
        assert busy.body["next"] == waits
        blind = {"name": "blind", "role": "operator", "capabilities": ["db.backup", "operations.*"]}
        key = server.do("keys.create", blind)["key"]
        refused = server.call("db.backup", {"appName": "ops-a"}, key=key)
        assert refused.code == "app_busy"
        assert "next" not in refused.body, "it could not look at that operation"
        assert server.do("operations.cancel", {"operationId": started["operationId"]})["state"] == "cancelled"
    assert "half" not in server.do("db.status", {"appName": "ops-a"})["tables"]
    server.do("db.seed", sleeping(0))


def test_a_client_that_goes_away_does_not_end_its_call(server: Server) -> None:
    def newest() -> dict[str, str]:
        found: dict[str, str] = server.do("operations.list", {"appName": "ops-a", "limit": 1})["operations"][0]
        return found

    before = newest()["id"]
    headers = {"X-Api-Key": server.key, "Accept": "application/x-ndjson"}
    with lasting(server) as asked:
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.request("POST", "/execute/db.seed", json.dumps(asked), headers)
        eventually(lambda: newest()["id"] != before, "the operation has begun")
        connection.close()
        begun = newest()
        assert begun["state"] == "running"
    assert server.do("operations.wait", {"operationId": begun["id"]})["state"] == "succeeded"


def test_a_new_key_is_in_the_first_answer_and_in_no_other(server: Server) -> None:
    scope = {"role": "admin", "readOnly": True, "needsApproval": True}
    watching = server.do("keys.create", {"name": "watching", **scope, "capabilities": ["operations.*"]})["key"]
    reaching = server.do("keys.create", {"name": "reaching", **scope})["key"]
    asked = {"name": "shown-once", "role": "observer", "idempotencyKey": "shown-once", "wait": 0}
    made = server.call("keys.create", asked)
    assert made.result["key"].startswith("ikoma_")
    operation = {"operationId": made.body["requestId"]}
    for call in ("operations.get", "operations.wait"):
        assert server.call(call, operation, key=watching).code == "operation_not_found"
        for key in (reaching, server.key):
            assert server.do(call, operation, key=key)["result"]["key"] == "[shown once]"
    assert server.do("keys.create", asked)["key"] == "[shown once]"


def test_what_a_failure_quotes_is_for_those_who_could_have_made_the_call(server: Server) -> None:
    server.do("apps.init", {"appName": "ops-quoted"})
    server.do("db.create", {"appName": "ops-quoted"})
    builder = server.do("keys.create", {"name": "ops-builder", "role": "builder"})["key"]
    failed = server.call("db.seed", {"appName": "ops-quoted", "sql": "SELECT 'of-a-person' FROM nowhere"}, key=builder)
    asked = {"operationId": failed.body["requestId"]}
    assert "of-a-person" in str(server.do("operations.get", asked, key=builder)["failure"])
    assert "of-a-person" in str(server.do("operations.get", asked)["failure"])
    other = server.do("keys.create", {"name": "ops-observer", "role": "observer"})["key"]
    failure = server.do("operations.get", asked, key=other)["failure"]
    assert (failure["code"], failure.get("details")) == ("sql_failed", None)
    assert "of-a-person" not in str(failure)


def test_rows_that_a_failure_quotes_are_hidden_from_observers(server: Server) -> None:
    server.do("apps.init", {"appName": "ops-rows"})
    server.do("db.create", {"appName": "ops-rows"})
    made = "CREATE TABLE cards (number text); INSERT INTO cards VALUES ('4111-1111')"
    server.do("db.seed", {"appName": "ops-rows", "sql": made})
    altered = "ALTER TABLE cards ALTER COLUMN number TYPE integer USING number::integer"
    failed = server.call("db.migrate", {"appName": "ops-rows", "sql": altered, "idempotencyKey": "rows"})
    asked = {"operationId": failed.body["requestId"]}
    assert "4111-1111" in failed.body["error"]
    assert "4111-1111" in server.do("operations.wait", asked)["failure"]["error"]
    for scope in ({"role": "observer"}, {"role": "operator"}, {"role": "admin", "readOnly": True}):
        key = server.do("keys.create", {"name": "ops-reader", **scope})["key"]
        for call in ("operations.get", "operations.wait"):
            answer = server.call(call, asked, key=key)
            assert "4111-1111" not in str(answer.body)
        failure = server.do("operations.get", asked, key=key)["failure"]
        assert failure["code"] == "sql_failed"
        assert failure["error"].endswith("InvalidTextRepresentation (22P02).")


def test_a_record_keeps_no_failure_that_quotes_without_end(server: Server) -> None:
    asked = {"appName": "ops-a", "sql": f"SELECT '{'x' * 300_000}'::integer", "idempotencyKey": "endless"}
    failed = server.call("db.seed", asked)
    assert failed.code == "sql_failed"
    failure = server.do("operations.get", {"operationId": failed.body["requestId"]})["failure"]
    assert len(json.dumps(failure)) < 64 << 10
    assert server.call("db.seed", asked).code == "sql_failed"


def test_what_is_not_there_is_said(server: Server) -> None:
    for call in ("operations.get", "operations.wait", "operations.cancel"):
        assert server.call(call, {"operationId": "nowhere"}).code == "operation_not_found"
