"""The path of a call, with a small registry of its own: each step is there, and in its order."""

from __future__ import annotations

import asyncio
import logging
import re
from pathlib import Path

import pytest

from ikoma.errors import (
    AppBusy,
    AuditUnavailable,
    DiskFull,
    IkomaError,
    InvalidArguments,
    OutOfScope,
    RateLimited,
    RoleTooLow,
    Unauthenticated,
    UnknownCapability,
    UnknownRole,
)
from ikoma.kernel import pipeline
from ikoma.kernel.access.caller import Caller
from ikoma.kernel.locks import Holder
from ikoma.kernel.registry import Request
from ikoma.kernel.requests import parse_arguments
from ikoma.model import AppName, Role
from tests.unit.kernel.small_pipeline import DONE, House, house, refused

__all__ = ["house"]


def test_a_read_leaves_one_entry_and_a_change_two(house: House) -> None:
    key = house.key(Role.ADMIN)
    assert asyncio.run(house.call("test.read", key=key)) == {"done": True}
    asyncio.run(house.call("test.write", {"appName": "shop", "text": "hunter2"}, key=key, role="builder"))
    entries = house.entries()
    assert [(entry["capability"], entry["result"]) for entry in entries] == [
        ("test.read", "success"),
        ("test.write", "started"),
        ("test.write", "success"),
    ]
    assert entries[2]["role"] == "builder"
    assert entries[2]["caller"] == "admin"
    assert entries[2]["arguments"] == {"appName": "shop", "text": "[text, 7 characters]"}
    assert entries[2]["duration"] > 0
    assert b"hunter2" not in house.log.read_bytes()


def test_nothing_is_read_or_done_without_a_key(house: House) -> None:
    for key in (None, "", "wrong"):
        assert refused(house, Unauthenticated, "test.write", key=key)["caller"] is None
    assert (house.bodies_read, DONE) == (0, [])


def test_a_role_that_is_too_low_is_refused_before_the_body_is_read(house: House) -> None:
    key = house.key(Role.OPERATOR)
    refused(house, RoleTooLow, "test.write", key=key)
    refused(house, RoleTooLow, "test.read", key=key, role="builder")
    refused(house, RoleTooLow, "test.write", key=house.key(Role.ADMIN), role="observer")
    refused(house, UnknownRole, "test.read", key=key, role="root")
    assert (house.bodies_read, DONE) == (0, [])


def test_the_scope_of_a_key_holds_for_capabilities_apps_and_effects(house: House) -> None:
    arguments = {"appName": "shop"}
    refused(house, OutOfScope, "test.write", arguments, key=house.key(Role.ADMIN, capabilities=["test.read"]))
    refused(house, OutOfScope, "test.write", arguments, key=house.key(Role.ADMIN, read_only=True))
    assert house.bodies_read == 0
    entry = refused(house, OutOfScope, "test.write", arguments, key=house.key(Role.ADMIN, apps=["blog*"]))
    assert entry["arguments"] == {"appName": "shop"}
    assert DONE == []
    asyncio.run(house.call("test.write", {"appName": "blog-2"}, key=house.key(Role.ADMIN, apps=["blog*"])))
    assert DONE == ["blog-2"]


def test_an_unknown_capability_and_wrong_arguments_are_refused(house: House) -> None:
    key = house.key(Role.ADMIN)
    assert refused(house, UnknownCapability, "test.raed", key=key)["capability"] == "[unknown] test.raed"
    entry = refused(house, InvalidArguments, "test.write", {"appName": "../x", "token": "hunter2"}, key=key)
    assert entry["arguments"] == {"appName": "../x", "token": "[unknown argument]"}
    assert DONE == []


def test_of_very_many_wrong_arguments_only_some_are_named(house: House) -> None:
    key = house.key(Role.ADMIN)
    flood: dict[str, object] = {f"n{number}": 1 for number in range(50_000)} | {"x" * 100_000: 1}
    with pytest.raises(InvalidArguments) as caught:
        asyncio.run(house.call("test.write", flood | {"appName": "../x"}, key=key))
    assert [problem["argument"] for problem in caught.value.details["arguments"]] == [
        "appName",
        *(f"n{number}" for number in range(19)),
    ]
    assert caught.value.message.endswith("n18: is unknown; and 49982 more.")
    with pytest.raises(InvalidArguments, match=re.escape("'[name, 100000 characters]': is unknown.")):
        asyncio.run(house.call("test.write", {"appName": "shop", "x" * 100_000: 1}, key=key))
    assert max(map(len, house.log.read_bytes().splitlines())) < 8192


def test_of_very_many_wrong_parts_of_one_argument_only_some_are_named() -> None:
    class Labels(Request):
        labels: dict[str, str]

    wrong = {"labels": {f"n{number}": number for number in range(5000)}}
    with pytest.raises(InvalidArguments) as caught:
        parse_arguments(Labels, wrong, of="test.label")
    assert len(caught.value.details["arguments"]) == 20
    assert caught.value.message.endswith("; and 4980 more.")


def test_names_that_are_too_long_are_not_shown_at_all(house: House) -> None:
    with pytest.raises(UnknownCapability, match=re.escape("There is no capability '[name, 100000 characters]'.")):
        asyncio.run(house.call("x" * 100_000, key=house.key(Role.ADMIN)))
    assert house.entries()[-1]["capability"] == "[unknown] [name, 100000 characters]"


@pytest.mark.parametrize("length", [201, 100_000])
def test_the_doors_own_idempotency_key_is_checked_like_the_argument(house: House, length: int) -> None:
    how = {"key": house.key(Role.ADMIN), "idempotency_key": "k" * length}
    with pytest.raises(InvalidArguments, match="idempotencyKey"):
        asyncio.run(house.call("test.write", {"appName": "shop"}, **how))
    assert DONE == []


def test_too_many_calls_are_refused_for_this_key_alone(tmp_path: Path) -> None:
    house = House(tmp_path, most=2)
    busy, other = house.key(Role.ADMIN), house.key(Role.ADMIN)
    for _ in range(2):
        asyncio.run(house.call("test.read", key=busy))
    refused(house, RateLimited, "test.read", key=busy)
    asyncio.run(house.call("test.read", key=other))


@pytest.mark.usefixtures("impatient")
def test_a_change_waits_for_its_lock_and_is_refused_when_the_app_is_busy(house: House) -> None:
    key = house.key(Role.ADMIN)

    async def scenario() -> None:
        async with house.locks.hold(AppName("shop"), Holder("deploy.up", "other")):
            with pytest.raises(AppBusy, match=r"deploy\.up"):
                await house.call("test.write", {"appName": "shop"}, key=key)

    asyncio.run(scenario())
    assert DONE == []
    assert [entry["result"] for entry in house.entries()] == ["error"]


def test_a_change_waits_for_what_ikoma_does_by_itself_and_ikoma_waits_for_nobody(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = house.key(Role.ADMIN)
    own = Holder("deploy.rollback", "own", own=True)

    async def scenario() -> None:
        monkeypatch.setattr(pipeline, "PATIENCE", 0.1)
        async with house.locks.hold(AppName("shop"), own):
            call = asyncio.ensure_future(house.call("test.write", {"appName": "shop"}, key=key))
            await asyncio.sleep(0.5)
            assert not call.done()
        assert await call == {"done": True}
        monkeypatch.setattr(pipeline, "PATIENCE", 600)
        by_itself = Caller("hook:shop", "hook:shop", Role.BUILDER)
        async with house.locks.hold(AppName("shop"), Holder("deploy.up", "other")):
            with pytest.raises(AppBusy):
                await asyncio.wait_for(house.call("test.write", {"appName": "shop"}, key=None, caller=by_itself), 60)

    DONE.clear()
    asyncio.run(scenario())
    assert DONE == ["shop"]


@pytest.mark.parametrize("audit", [Path("/dev/full"), Path("/proc/nowhere/audit.jsonl")])
def test_a_change_whose_intent_cannot_be_written_does_not_happen(tmp_path: Path, audit: Path) -> None:
    DONE.clear()
    house = House(tmp_path, audit=audit)
    key = house.key(Role.ADMIN)
    with pytest.raises(AuditUnavailable):
        asyncio.run(house.call("test.write", {"appName": "shop"}, key=key))
    assert DONE == []
    assert asyncio.run(house.call("test.read", key=key)) == {"done": True}


def test_what_nobody_foresaw_is_logged_here_and_not_told_outside(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR), pytest.raises(IkomaError) as raised:
        asyncio.run(house.call("test.fail", key=house.key(Role.ADMIN)))
    assert raised.value.status == 500
    assert "nobody outside" not in raised.value.message
    assert "nobody outside" in caplog.text
    assert house.entries()[-1]["code"] == "internal_error"
    assert b"nobody outside" not in house.log.read_bytes()


def test_a_full_disk_is_an_answer(house: House) -> None:
    refused(house, DiskFull, "test.full", key=house.key(Role.ADMIN))
