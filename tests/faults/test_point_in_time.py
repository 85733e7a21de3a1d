"""One app's database goes back to a second, whatever ends the server on the way; the other apps never notice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest

from ikoma.durable import remove_tree, write_file
from ikoma.moments import format_moment
from tests.apps import make_app
from tests.faults.server_observations import Background, half_written, named
from tests.rollouts.self_killing_server import COMMAND
from tests.support import Server, eventually
from tests.support import server as started_server

APP, OTHER = named("second"), named("others")
STEPS = ("recovered", "taken out", "swapped")
BASE_STEPS = ("base backup copied", "base backup verified")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One that can be told to die, and that keeps an archive."""
    with started_server(command=COMMAND, POINT_IN_TIME="true") as started:
        yield started


@pytest.fixture(scope="module")
def app(server: Server) -> dict[str, str]:
    for name in (APP, OTHER):
        make_app(server, name)
        server.do("db.create", {"appName": name})
        server.do("db.seed", {"appName": name, "sql": "CREATE TABLE t AS SELECT generate_series(1, 300) AS n"})
    eventually(lambda: is_open(server), "there is a base backup")
    return {"appName": APP}


def is_open(server: Server) -> bool:
    window = server.do("db.status", {"appName": APP})["pointInTime"]
    return window["problem"] is None and window["since"] <= datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def state(server: Server, name: str) -> Path:
    return Path(server.env["IKOMA_STATE"]) / name


def archive(server: Server) -> Path:
    return next(path for path in (server.backups / "point-in-time").iterdir() if path.is_dir())


def list_base_names(server: Server) -> list[str]:
    return sorted(path.name for path in (archive(server) / "base").iterdir())


def count(server: Server, name: str = APP) -> int:
    return int(server.do("db.query", {"appName": name, "sql": "SELECT count(*) FROM t"})["rows"][0][0])


def put(server: Server, sql: str) -> None:
    server.do("db.seed", {"appName": APP, "sql": sql})


def moment() -> str:
    return datetime.now(UTC).isoformat()


def left(server: Server) -> list[str]:
    """Servers and folders that recovery made."""
    root = state(server, "postgres/recovered")
    folders = [str(path) for path in root.iterdir()] if root.is_dir() else []
    return [*folders, *(str(item.pid) for item in psutil.process_iter(["cmdline"]) if str(root) in str(item.info))]


def die(server: Server) -> None:
    assert server.process is not None
    server.process.wait(timeout=120)
    server.process = None


def test_a_plan_shows_the_rows_of_then_and_a_restore_brings_them_back(server: Server, app: dict[str, str]) -> None:
    then = moment()
    put(server, "DELETE FROM t WHERE n > 100")
    server.do("db.seed", {"appName": OTHER, "sql": "DELETE FROM t WHERE n > 200"})
    plan = server.do("db.restore", {**app, "time": then, "plan": True})
    assert plan["tables"] == [{"name": "t", "now": 100, "backup": 300}]
    assert count(server) == 100
    done = server.do("db.restore", {**app, "time": then})
    assert done["details"]["rows"] == {"t": 300}
    assert (count(server), count(server, OTHER)) == (300, 200)
    server.do("db.restore", {**app, "undo": True})
    assert count(server) == 100
    asked = server.call("db.restore", {**app, "time": then}, headers={"X-Confirm": "ask"})
    assert asked.code == "confirmation_needed", "the copy of before would go"
    server.do("db.restore", {**app, "time": then})
    assert left(server) == []
    check = server.do("platform.check")
    assert check["details"]["pointInTime"]["since"]
    assert "error" not in check["details"]["pointInTime"]


def test_one_table_goes_back_to_a_second_and_all_else_stays(server: Server, app: dict[str, str]) -> None:
    put(server, "CREATE TABLE notes (n int)")
    then, rows = moment(), count(server)
    put(server, "DELETE FROM t; INSERT INTO notes VALUES (1)")
    part = {**app, "time": then, "tables": ["t"]}
    plan = server.do("db.restore", {**part, "plan": True})
    assert plan["tables"] == [{"name": "t", "now": 0, "backup": rows}]
    assert count(server) == 0
    done = server.do("db.restore", part)
    assert done["details"]["rows"] == {"t": rows}
    assert done["message"].startswith("As at ")
    assert count(server) == rows
    assert server.do("db.query", {**app, "sql": "SELECT n FROM notes"})["rows"] == [[1]], "made since, and kept"
    server.do("db.restore", {**app, "backupName": done["details"]["before"], "tables": ["t"]})
    assert count(server) == 0, "the backup of before brings that back"
    server.do("db.restore", part)
    missing = server.call("db.restore", {**app, "time": then, "tables": ["nobody"]})
    assert (missing.status, missing.code) == (404, "table_missing"), missing.body
    both = server.call("db.restore", {**app, "undo": True, "tables": ["t"]})
    assert both.status == 422
    put(server, "DROP TABLE notes")
    assert left(server) == []
    assert not (server.apps / APP / ".ikoma" / "restoring.sql").exists()


@pytest.mark.parametrize(
    ("time", "status", "code"),
    [
        ("2020-01-01T00:00:00Z", 409, "time_outside_window"),
        ("2999-01-01T00:00:00+01:00", 409, "time_outside_window"),
        ("yesterday", 422, "invalid_arguments"),
        ("2026-13-01T00:00:00Z", 422, "invalid_arguments"),
    ],
)
def test_a_time_that_cannot_be_changes_nothing(
    server: Server, app: dict[str, str], time: str, status: int, code: str
) -> None:
    before = count(server)
    refused = server.call("db.restore", {**app, "time": time})
    assert (refused.status, refused.code) == (status, code), refused.body
    assert refused.body["hint"]
    assert count(server) == before
    assert left(server) == []
    assert not (server.apps / APP / ".ikoma" / "restoring.json").exists()


@pytest.mark.parametrize("step", STEPS)
def test_a_server_killed_on_the_way_back_has_the_one_database_or_the_other(
    server: Server, app: dict[str, str], step: str
) -> None:
    before = count(server)
    then = moment()
    put(server, f"INSERT INTO t VALUES ({1000 + STEPS.index(step)})")
    state(server, "kill-at").write_text(step)
    call = Background(server, "db.restore", {**app, "time": then})
    die(server)
    assert call.wait() is None
    server.start()
    assert count(server) == (before if step == "swapped" else before + 1)
    eventually(lambda: left(server) == [], "nothing is left over")
    eventually(lambda: "the restore of the state of" in server.log(), "the next start says how it ended")
    eventually(lambda: not (server.apps / APP / ".ikoma" / "restoring.sql").exists(), "nor of what was taken out")
    assert half_written(server) == []
    eventually(lambda: is_open(server), "the archive goes on")


@pytest.mark.parametrize("step", BASE_STEPS)
def test_a_server_killed_in_a_base_backup_makes_it_again(server: Server, app: dict[str, str], step: str) -> None:
    state(server, "kill-at").write_text(step)
    for base in (archive(server) / "base").iterdir():
        remove_tree(base)  # so that one is due
    die(server)
    assert [path.name[0] for path in (archive(server) / "base").iterdir()] == ["."]
    server.start()
    eventually(lambda: is_open(server), "it is made again")
    names = [path.name for path in (archive(server) / "base").iterdir()]
    assert len(names) == 1
    assert names[0][0] != "."
    then = moment()
    before = count(server)
    put(server, "DELETE FROM t WHERE n < 50")
    server.do("db.restore", {**app, "time": then})
    assert count(server) == before
    assert json.loads((archive(server) / "base" / names[0] / "base.json").read_text())["size"] > 0


@pytest.mark.parametrize("step", BASE_STEPS)
def test_a_server_killed_in_an_incremental_base_backup_lists_nothing_half_and_goes_on(
    server: Server, app: dict[str, str], step: str
) -> None:
    before = count(server)
    put(server, f"INSERT INTO t VALUES ({2000 + BASE_STEPS.index(step)})")
    known = sorted(path.name for path in (archive(server) / "base").iterdir())
    record = archive(server) / "base" / known[-1] / "base.json"
    of_yesterday = format_moment(datetime.now(UTC) - timedelta(hours=25), "microseconds")
    state(server, "kill-at").write_text(step)
    write_file(record, orjson.dumps(orjson.loads(record.read_bytes()) | {"finished": of_yesterday}), mode=0o600)
    die(server)
    assert [name for name in list_base_names(server) if name[0] != "."] == known
    server.start()
    eventually(lambda: [name[0] for name in list_base_names(server)] == ["2"] * (len(known) + 1), "it is made")
    eventually(lambda: is_open(server), "the archive goes on")
    names = list_base_names(server)
    made = orjson.loads((archive(server) / "base" / names[-1] / "base.json").read_bytes())
    assert made["parent"] == known[-1], "what has changed since the one before"
    then = moment()
    put(server, "DELETE FROM t")
    server.do("db.restore", {**app, "time": then})
    assert count(server) == before + 1


def test_who_may_not_is_refused(server: Server, app: dict[str, str]) -> None:
    key: Any = server.do("keys.create", {"name": "looks", "role": "operator", "apps": [APP]})["key"]
    assert server.call("db.restore", {**app, "time": moment()}, key=key).status == 403
