"""Approvals and revocation across the doors: what one refuses or allows, all do."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.hostile.doors import DOORS
from tests.support import Server

NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def bot(house: Server) -> str:
    return str(house.do("keys.create", {"name": "bot", "role": "admin", "needsApproval": True})["key"])


@pytest.fixture
def app(house: Server) -> Iterator[str]:
    name = f"consent-{next(NUMBERS)}"
    house.do("apps.init", {"appName": name})
    yield name


@pytest.mark.parametrize(("asks", "decides", "repeats"), list(itertools.permutations(DOORS)))
def test_a_call_is_asked_for_approved_and_made_through_three_doors(
    house: Server, bot: str, app: str, asks: str, decides: str, repeats: str
) -> None:
    call = {"appName": app}
    asked = DOORS[asks](house, "apps.remove", call, bot)
    assert asked.code == "approval_needed"
    assert (house.apps / app).is_dir()
    [request] = [item for item in house.do("approvals.list")["approvals"] if item["app"] == app]
    assert (request["caller"], request["capability"], request["state"]) == ("bot", "apps.remove", "pending")
    assert request["arguments"] == call
    assert app in request["summary"]
    assert DOORS[repeats](house, "apps.remove", call, bot).code == "approval_needed"
    assert DOORS[decides](house, "approvals.approve", {"id": request["id"]}, bot).code == "approval_not_yours"
    assert DOORS[decides](house, "approvals.approve", {"id": request["id"]}).code is None
    other = DOORS[repeats](house, "apps.remove", {"appName": f"{app}-x"}, bot)
    assert other.code in ("approval_needed", "app_not_found")
    assert DOORS[repeats](house, "apps.remove", call, bot).code is None
    assert not (house.apps / app).exists()


@pytest.mark.parametrize("door", DOORS)
def test_a_refused_call_is_not_made(house: Server, bot: str, app: str, door: str) -> None:
    assert DOORS[door](house, "apps.remove", {"appName": app}, bot).code == "approval_needed"
    [request] = [item for item in house.do("approvals.list")["approvals"] if item["app"] == app]
    assert DOORS[door](house, "approvals.deny", {"id": request["id"]}).code is None
    assert DOORS[door](house, "apps.remove", {"appName": app}, bot).code == "approval_denied"
    assert (house.apps / app).is_dir()


def test_consent_is_needed_for_what_destroys_or_gives_rights_and_not_for_the_rest(
    house: Server, bot: str, app: str
) -> None:
    soon = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    for capability, arguments in {
        "keys.create": {"name": "more", "role": "admin", "needsApproval": True},
        "policy.waive": {"appName": app, "rule": "gpus", "reason": "to see", "expires": soon},
    }.items():
        assert house.call(capability, arguments, key=bot).code == "approval_needed", capability
    assert house.do("env.set", {"appName": app, "name": "PORT", "value": "2"}, key=bot)["names"]
    assert house.do("env.unset", {"appName": app, "name": "PORT"}, key=bot)["names"] == []  # env.restore brings it back


def test_a_second_key_is_asked_where_rows_go_and_not_for_other_sql(house: Server, bot: str, app: str) -> None:
    house.do("db.create", {"appName": app})
    made = {"appName": app, "sql": "CREATE TABLE t (a int); INSERT INTO t VALUES (1)"}
    assert house.do("db.migrate", made, key=bot)["applied"]
    for capability, sql in {"db.migrate": "DROP TABLE t", "db.seed": "DELETE FROM t"}.items():
        assert house.call(capability, {"appName": app, "sql": sql}, key=bot).code == "approval_needed"
    asked = [item for item in house.do("approvals.list")["approvals"] if item["app"] == app]
    assert any("the table t, with 1 row" in item["summary"] for item in asked)
    assert house.do("db.query", {"appName": app, "sql": "SELECT count(*) FROM t"})["rows"] == [[1]]
    [drop] = [item for item in asked if item["capability"] == "db.migrate"]
    house.do("approvals.approve", {"id": drop["id"]})
    assert house.do("db.migrate", {"appName": app, "sql": "DROP TABLE t"}, key=bot)["applied"]
    house.do("apps.remove", {"appName": app})


def test_approvals_are_on_record(house: Server) -> None:
    entries = house.audit()
    needed = [entry for entry in entries if entry["code"] == "approval_needed"]
    approved = [entry for entry in entries if entry["capability"] == "approvals.approve"]
    assert needed
    assert {entry["result"] for entry in approved} == {"started", "success", "error"}


@pytest.mark.parametrize("door", DOORS)
def test_a_revoked_key_is_refused_by_the_next_request_on_every_door(house: Server, door: str) -> None:
    made = house.do("keys.create", {"name": f"short-lived {door}", "role": "observer"})
    assert DOORS[door](house, "platform.info", {}, made["key"]).code is None
    assert DOORS[door](house, "keys.revoke", {"id": made["id"]}).code is None
    for other in DOORS.values():
        assert other(house, "platform.info", {}, made["key"]).code == "unauthenticated"


@pytest.mark.parametrize("door", DOORS)
def test_a_rotated_key_goes_on_for_its_overlap_only(house: Server, door: str) -> None:
    made = house.do("keys.create", {"name": "rotated", "role": "observer"})
    rotated = house.do("keys.rotate", {"id": made["id"], "overlap": 3600})
    for key in (made["key"], rotated["key"]):
        assert DOORS[door](house, "platform.info", {}, key).code is None
    last = house.do("keys.rotate", {"id": made["id"], "overlap": 0})["key"]
    for key in (made["key"], rotated["key"]):
        assert DOORS[door](house, "platform.info", {}, key).code == "unauthenticated"
    assert DOORS[door](house, "platform.info", {}, last).code is None
