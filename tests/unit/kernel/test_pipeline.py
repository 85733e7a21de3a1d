"""The path of a call, with a small registry of its own: each step is there, and in its order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import orjson
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
from ikoma.kernel.approvals import Approvals
from ikoma.kernel.audit import AuditLog
from ikoma.kernel.call import Attempt, Identified
from ikoma.kernel.callers import Callers
from ikoma.kernel.journal import Journal
from ikoma.kernel.locks import Locks
from ikoma.kernel.operations import Operations
from ikoma.kernel.pipeline import Pipeline
from ikoma.kernel.ratelimit import RateLimit
from ikoma.kernel.registry import AppRequest, Registry, Request, Result, Sensitive, capability
from ikoma.kernel.throttle import Throttle
from ikoma.model import AppName, Effect, Role

REGISTRY = Registry()
DONE: list[str] = []


class Write(AppRequest):
    text: Annotated[str, Sensitive("text")] = ""


class Answer(Result):
    done: bool = True


@capability("test.read", role=Role.OBSERVER, effect=Effect.READS, into=REGISTRY)
async def read(call: Identified, request: Request) -> Answer:
    """Read."""
    return Answer()


@capability("test.write", role=Role.BUILDER, effect=Effect.CHANGES, into=REGISTRY)
async def write(call: Identified, request: Write) -> Answer:
    """Write."""
    DONE.append(request.app_name)
    return Answer()


@capability("test.fail", role=Role.OBSERVER, effect=Effect.READS, into=REGISTRY)
async def fail(call: Identified, request: Request) -> Answer:
    """Fail in a way nobody foresaw."""
    raise ZeroDivisionError("a detail that nobody outside should see")


@capability("test.full", role=Role.OBSERVER, effect=Effect.CHANGES, into=REGISTRY)
async def full(call: Identified, request: Request) -> Answer:
    """Meet a full disk."""
    raise OSError(28, "No space left on device")


class House:
    """A pipeline in a folder."""

    def __init__(self, folder: Path, *, audit: Path | None = None, most: int = 1000) -> None:
        self.log = audit or folder / "audit.jsonl"
        self.callers = Callers(folder / "state.db", folder / ".env", None)
        self.locks = Locks(folder)
        self.pipeline = Pipeline(
            REGISTRY,
            callers=self.callers,
            rate_limit=RateLimit(60_000, most),
            audit=AuditLog(self.log, folder / "audit-head"),
            approvals=Approvals(folder / "state.db"),
            throttle=Throttle(1_000_000),
            locks=self.locks,
            operations=Operations(Journal(folder / "state.db")),
            make_call=lambda identified: identified,
        )
        self.bodies_read = 0
        self.calls = 0

    def key(self, role: Role, **scope: Any) -> str:
        return self.callers.create(str(role), role, **scope)[1]

    async def call(
        self, name: str, arguments: Mapping[str, Any] | None = None, *, key: str | None, role: str | None = None
    ) -> Any:
        async def body(limit: int) -> Mapping[str, Any]:
            self.bodies_read += 1
            return arguments or {}

        self.calls += 1
        answer = await self.pipeline.execute(Attempt(name, key, role, f"request-{self.calls}", body))
        return orjson.loads(answer.body)

    def entries(self) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in self.log.read_bytes().splitlines()]


@pytest.fixture
def house(tmp_path: Path) -> House:
    DONE.clear()
    return House(tmp_path)


def refused(house: House, kind: type[IkomaError], name: str, arguments: Any = None, **how: Any) -> dict[str, Any]:
    """The audit entry of a call that must be refused before its body is read, unless `arguments` are at fault."""
    with pytest.raises(kind):
        asyncio.run(house.call(name, arguments, **how))
    entry = house.entries()[-1]
    assert (entry["result"], entry["code"]) == ("error", kind.code)
    return entry


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
    assert refused(house, UnknownCapability, "test.raed", key=key)["capability"] == "test.raed"
    entry = refused(house, InvalidArguments, "test.write", {"appName": "../x", "token": "hunter2"}, key=key)
    assert entry["arguments"] == {"appName": "../x", "token": "[unknown argument]"}
    assert DONE == []


def test_too_many_calls_are_refused_for_this_key_alone(tmp_path: Path) -> None:
    house = House(tmp_path, most=2)
    busy, other = house.key(Role.ADMIN), house.key(Role.ADMIN)
    for _ in range(2):
        asyncio.run(house.call("test.read", key=busy))
    refused(house, RateLimited, "test.read", key=busy)
    asyncio.run(house.call("test.read", key=other))


def test_a_change_waits_for_its_lock_and_is_refused_when_the_app_is_busy(house: House) -> None:
    key = house.key(Role.ADMIN)

    async def scenario() -> None:
        async with house.locks.hold(AppName("shop"), capability="deploy.up", request_id="other"):
            with pytest.raises(AppBusy, match=r"deploy\.up"):
                await house.call("test.write", {"appName": "shop"}, key=key)

    asyncio.run(scenario())
    assert DONE == []
    assert [entry["result"] for entry in house.entries()] == ["error"]


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
