"""Schedules of an app: backups and commands by the clock, with what remains of each run."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.apps import COMPOSE, make_app
from tests.support import Server
from tests.support import server as started_server

APP = "clockwork"


@pytest.fixture(scope="module")
def own() -> Iterator[Server]:
    with started_server(NIGHTLY_BACKUPS="true") as started:
        make_app(started, APP, compose=COMPOSE)
        started.do("db.create", {"appName": APP})
        started.do("db.migrate", {"appName": APP, "sql": "CREATE TABLE items (id int); INSERT INTO items VALUES (1)"})
        started.do("deploy.up", {"appName": APP})
        yield started


def schedules(server: Server) -> dict[str, Any]:
    return {item["name"]: item for item in server.do("schedules.list", {"appName": APP})["schedules"]}


def run_now(server: Server, name: str) -> dict[str, Any]:
    operation = server.do("schedules.run", {"appName": APP, "name": name})["operationId"]
    server.do("operations.wait", {"operationId": operation, "seconds": 60})
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        recent = schedules(server)[name]["recent"]  # one may have come due meanwhile
        [asked] = [item for item in recent if item["operationId"] == operation]
        if asked["outcome"] not in ("asked", "running"):
            return dict(asked)
        time.sleep(0.1)
    raise AssertionError(schedules(server)[name])


def test_an_app_with_a_database_gets_a_nightly_backup(own: Server) -> None:
    deadline = time.monotonic() + 90
    while not schedules(own) and time.monotonic() < deadline:
        time.sleep(0.5)
    nightly = schedules(own)["nightly"]
    assert nightly["does"] == "backup of the database"
    due = datetime.fromisoformat(nightly["nextDue"])
    assert due.hour in (2, 3)
    assert datetime.now(UTC) < due < datetime.now(UTC) + timedelta(days=1, hours=2)
    last = run_now(own, "nightly")
    assert last["outcome"] == "succeeded"
    assert "proven" in last["message"]
    assert [path.name for path in own.backups.glob(f"{APP}-*.sql*") if path.suffix == ".zst"], "it is packed"
    entries = [entry for entry in own.audit() if entry["capability"] == "db.backup"]
    assert {entry["caller"] for entry in entries} == {"schedule:nightly"}


def test_a_command_runs_and_its_exit_code_is_told(own: Server) -> None:
    own.do("schedules.set", {"appName": APP, "name": "well", "cron": "0 6 * * 1-5", "command": ["true"]})
    own.do("schedules.set", {"appName": APP, "name": "badly", "cron": "0 6 1 * *", "command": ["sh", "-c", "exit 7"]})
    assert run_now(own, "well")["outcome"] == "succeeded"
    badly = run_now(own, "badly")
    assert (badly["outcome"], badly["message"]) == ("failed", "exit code 7")


def test_a_time_that_the_server_missed_is_made_up_for_after_its_start(own: Server) -> None:
    other_side_of_the_clock = (datetime.now(UTC).hour + 12) % 24  # no second time falls due while the test runs
    cron = f"0 {other_side_of_the_clock} * * *"
    own.do("schedules.set", {"appName": APP, "name": "missed", "cron": cron, "command": ["true"]})
    own.stop()
    path = own.apps / APP / ".ikoma" / "schedules.json"
    known = json.loads(path.read_text())
    for item in known:
        if item["name"] == "missed":
            item["set_at"] = (datetime.now(UTC) - timedelta(days=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    path.write_text(json.dumps(known))
    own.start()
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not schedules(own)["missed"]["last"].startswith("succeeded"):
        time.sleep(0.2)
    [run] = schedules(own)["missed"]["recent"]
    assert run["outcome"] == "succeeded"


def test_only_those_set_a_command_who_may_run_one(own: Server) -> None:
    given = {"appName": APP, "name": "sly", "cron": "0 6 * * *"}
    refused = own.call("schedules.set", {**given, "command": ["true"]}, role="operator")
    assert (refused.status, refused.code) == (403, "role_too_low")
    own.do("schedules.set", given, role="operator")
    own.do("schedules.remove", {"appName": APP, "name": "sly"}, role="operator")
    assert own.call("schedules.run", {"appName": APP, "name": "well"}, role="operator").code == "role_too_low"
    assert own.call("schedules.list", {"appName": APP}, role="observer").status == 200


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"cron": "0 0 30 2 *"}, "bad day-of-month"),
        ({"cron": "whenever"}, "has 1 fields"),
        ({"cron": "0 3 * * *", "zone": "Mars/Olympus"}, "is no time zone"),
        ({"cron": "0 3 * * *", "service": "web"}, "service goes with command"),
        ({"cron": "0 3 * * *", "command": [""]}, "command"),
    ],
)
def test_what_cannot_be_done_by_the_clock_is_refused(own: Server, given: dict[str, Any], said: str) -> None:
    before = schedules(own)
    refused = own.call("schedules.set", {"appName": APP, "name": "wrong", **given})
    assert (refused.status, refused.code) == (422, "invalid_arguments")
    assert said in refused.body["error"]
    assert refused.body["hint"]
    assert schedules(own) == before


def test_what_is_not_there_is_told_with_what_is(own: Server) -> None:
    for capability in ("schedules.run", "schedules.remove"):
        refused = own.call(capability, {"appName": APP, "name": "weekly"})
        assert refused.code == "schedule_not_found"
        assert "nightly" in refused.body["hint"]


def test_the_command_line_sets_and_shows_them(own: Server) -> None:
    done = own.cli(
        "schedule-set", APP, "report", "0 6 * * mon-fri", "--zone", "Europe/Berlin", "--", "sh", "-c", "exit 0"
    )
    assert done.returncode == 0, done.stderr
    shown = own.cli("schedules", APP).stdout
    assert "0 6 * * mon-fri" in shown
    assert "sh -c exit 0" in shown
    assert own.cli("schedule-remove", APP, "report").returncode == 0
