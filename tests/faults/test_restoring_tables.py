"""Tables come back out of a backup, and `kill -9` leaves all rows of before or all of the backup."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.apps import make_app
from tests.faults.server_observations import Background, half_written, moments, named
from tests.faults.test_bringing_back import killed, passing
from tests.rollouts.self_killing_server import COMMAND
from tests.support import Server, eventually
from tests.support import server as started_server

APP = named("tables")
STEPS = ("noted", "made beside", "filled", "backed up", "put back")
TABLES = """CREATE TABLE users (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text);
CREATE TABLE orders (id serial PRIMARY KEY, user_id int REFERENCES users ON DELETE CASCADE, n int);
CREATE TABLE other (n int); INSERT INTO other VALUES (1);
INSERT INTO users (name) SELECT md5(n::text) FROM generate_series(1, 5000) n;
INSERT INTO orders (user_id, n) SELECT 1 + n % 5000, n FROM generate_series(1, 20000) n;"""
DIGEST = """SELECT (SELECT md5(string_agg(u::text, ',' ORDER BY id)) FROM users u),
(SELECT md5(string_agg(o::text, ',' ORDER BY id)) FROM orders o), (SELECT sum(n) FROM other)"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One that can be told to die."""
    with started_server(command=COMMAND) as started:
        yield started


@pytest.fixture(scope="module")
def given(server: Server) -> dict[str, Any]:
    """The call that brings both tables back."""
    make_app(server, APP)
    server.do("db.create", {"appName": APP})
    server.do("db.migrate", {"appName": APP, "sql": TABLES})
    made = server.do("db.backup", {"appName": APP, "backupName": f"{APP}-whole.sql"})
    return {"appName": APP, "backupName": Path(made["backupPath"]).name, "tables": ["users", "public.orders"]}


def digest(server: Server) -> list[Any]:
    rows: list[Any] = server.do("db.query", {"appName": APP, "sql": DIGEST})["rows"][0]
    return rows


def spoil(server: Server, number: int) -> None:
    """Another state of all tables each time."""
    sql = f"DELETE FROM users WHERE id % 7 = 0; UPDATE users SET name = '{number}'; UPDATE other SET n = {number}"
    server.do("db.seed", {"appName": APP, "sql": sql})


def test_two_tables_come_back_and_go_again_and_what_does_not_fit_is_refused(
    server: Server, given: dict[str, Any]
) -> None:
    first = digest(server)
    spoil(server, 10)
    spoilt = digest(server)
    plan = server.do("db.restore", {**given, "plan": True})
    assert plan["tables"] == [
        {"name": "users", "now": 4286, "backup": 5000},
        {"name": "orders", "now": 17144, "backup": 20000},
    ]
    for names, status, code in (
        (["users", "order"], 404, "table_missing"),
        (["orders"], 409, "tables_unmatched"),
        ([], 422, "invalid_arguments"),
    ):
        refused = server.call("db.restore", {**given, "tables": names})
        assert (refused.status, refused.code) == (status, code), refused.body
        assert refused.body["hint"]
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"undo": True}, "invalid_arguments"),
        ({"time": "2026-01-01T00:00:00Z"}, "point_in_time_off"),
    )
    for given_instead, code in wrong:
        arguments = {name: value for name, value in {**given, **given_instead}.items() if name != "backupName"}
        assert server.call("db.restore", arguments).code == code
    assert digest(server) == spoilt
    names = [item["name"] for item in server.do("backup.list", {"appName": APP})["backups"]]
    done = server.do("db.restore", given)
    assert digest(server) == [*first[:2], spoilt[2]], "the third table is left as it was"
    assert done["details"]["rows"] == {"users": 5000, "orders": 20000}
    before = done["details"]["before"]
    assert before not in names
    assert before in done["message"]
    server.do("db.restore", {**given, "backupName": before})
    assert digest(server) == spoilt
    assert passing(server) == []


def _is_said(server: Server, text: str) -> bool:
    return text in server.log()


@pytest.mark.timeout(900)
def test_a_killed_server_has_put_all_rows_back_or_none(server: Server, given: dict[str, Any]) -> None:
    server.do("db.restore", given)
    first = digest(server)
    counts = {"done": 0, "cut off": 0}

    def look(number: int, spoilt: list[Any]) -> bool:
        found = digest(server)
        assert found[2] == number
        assert found[:2] in (first[:2], spoilt[:2])
        eventually(lambda: passing(server) == [], "nothing is left over")
        assert half_written(server) == []
        assert not (server.apps / APP / ".ikoma" / "restoring.json").exists()
        is_done = found[:2] == first[:2]
        counts["done" if is_done else "cut off"] += 1
        return is_done

    for number, step in enumerate(STEPS, start=100):
        spoil(server, number)
        spoilt = digest(server)
        killed(server, "db.restore", given, step)
        said = f"the restore of users, public.orders from {given['backupName']} was "
        if step in ("backed up", "put back"):
            eventually(partial(_is_said, server, said), "the next start says how it ended")
        assert look(number, spoilt) == (step == "put back")
    spoil(server, 200)
    began = time.monotonic()
    server.do("db.restore", given)
    whole = time.monotonic() - began
    for number, moment in enumerate(moments("tables", 8), start=300):
        spoil(server, number)
        spoilt = digest(server)
        call = Background(server, "db.restore", given)
        time.sleep(moment * whole)
        server.kill()
        call.wait()
        server.start()
        look(number, spoilt)
    print(f"\ndb.restore with tables, killed {sum(counts.values())} times: {counts}")
