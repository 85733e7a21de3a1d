"""Each step of the path does what no answer shows: taking it away must not go unnoticed (scripts/mutants.py)."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest

from ikoma.errors import (
    AppBusy,
    ApprovalNeeded,
    AuditUnavailable,
    ConfirmationInvalid,
    ConfirmationNeeded,
    Declined,
    HookRefused,
    IkomaError,
    MalformedRequest,
    RateLimited,
    TooManyFailures,
    Unauthenticated,
    UnknownRole,
)
from ikoma.kernel.access import key_guard
from ikoma.kernel.audit.chain import verify
from ikoma.kernel.events import Event, EventKind, Severity
from ikoma.kernel.locks import Holder
from ikoma.kernel.operations import operations
from ikoma.model import AppName, Role
from tests.unit.kernel.small_pipeline import DONE, OWN, SECRET, House, house, refused

__all__ = ["house"]

SHOP = {"appName": "shop"}
SHOP_WRITE = ("shop", "test.write")


def test_an_address_waits_after_wrong_keys_but_whoever_is_known_there_does_not(tmp_path: Path) -> None:
    house = House(tmp_path, failures=2)
    known, other = house.key(Role.ADMIN), house.key(Role.ADMIN)
    asyncio.run(house.call("test.read", key=known, address="192.0.2.1"))
    for _ in range(3):
        refused(house, Unauthenticated, "test.read", key="wrong", address="192.0.2.1")
    refused(house, TooManyFailures, "test.read", key=other, address="192.0.2.1")
    asyncio.run(house.call("test.read", key=known, address="192.0.2.1"))
    asyncio.run(house.call("test.read", key=other, address="192.0.2.2"))


@pytest.mark.parametrize("name", ["audit.gap", "audit_gap", "[unknown] audit.gap", "x" * 300])
def test_no_name_that_a_stranger_asks_for_makes_the_log_a_broken_one(tmp_path: Path, name: str) -> None:
    house = House(tmp_path)
    entry = refused(house, Unauthenticated, name, key=None)
    assert entry["capability"] == f"[unknown] {name if len(name) < 100 else '[name, 300 characters]'}"
    assert verify(house.log, tmp_path / "audit-head").valid


def test_a_long_read_ends_with_its_key_and_with_a_cancel_of_its_own(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_guard, "_EVERY_SECONDS", 0.05)
    identity, key = house.callers.create("follower", Role.OBSERVER)

    async def scenario() -> None:
        following = asyncio.ensure_future(house.call("test.follow", key=key))
        await asyncio.sleep(0.2)
        following.cancel()
        with pytest.raises(asyncio.CancelledError):
            await following
        following = asyncio.ensure_future(house.call("test.follow", key=key))
        await asyncio.sleep(0.2)
        assert not following.done()
        house.callers.revoke(identity)
        with pytest.raises(Unauthenticated):
            await asyncio.wait_for(following, 60)

    asyncio.run(scenario())
    assert [(entry["capability"], entry["code"]) for entry in house.entries()][-1] == ("test.follow", "unauthenticated")


def test_a_stop_ends_what_would_be_followed_for_long(house: House) -> None:
    key = house.key(Role.OBSERVER)

    async def scenario() -> None:
        following = asyncio.ensure_future(house.call("test.stream", key=key))
        await asyncio.sleep(0.1)
        assert not following.done()
        house.pipeline.stop()
        await asyncio.wait_for(following, 60)

    asyncio.run(scenario())


def test_an_entry_tells_two_keys_of_one_name_apart(house: House) -> None:
    made = [house.callers.create("same", Role.ADMIN) for _ in range(2)]
    for _, key in made:
        asyncio.run(house.call("test.read", key=key))
    assert [(entry["caller"], entry["key"]) for entry in house.entries()] == [
        ("same", made[0][0]),
        ("same", made[1][0]),
    ]


def test_what_nobody_can_write_down_is_refused_for_what_it_is(house: House) -> None:
    deep: list[Any] = []
    for _ in range(300):
        deep = [deep]
    for what, said in (("\ud83d", "not Unicode"), (1 << 64, "64 bits"), (-1 << 64, "64 bits"), (deep, "nested")):
        entry = refused(house, MalformedRequest, "test.write", {**SHOP, "text": what}, key=house.key(Role.ADMIN))
        assert said in entry["error"]
    assert DONE == []


@pytest.mark.parametrize("note", ["", "fail"])
def test_a_known_secret_leaves_by_no_way(house: House, note: str) -> None:
    told: list[Any] = []

    async def emit(line: str) -> None:
        told.append(line)

    how = {"key": house.key(Role.ADMIN), "progress": lambda *said: told.append(said), "emit": emit}
    arguments = {**SHOP, "note": note or SECRET}
    if note:
        with pytest.raises(AppBusy) as raised:
            asyncio.run(house.call("test.tell", arguments, **how))
        error = raised.value
        told += [error.message, error.hint, error.audit_message, error.details]
    else:
        told.append(asyncio.run(house.call("test.tell", arguments, **how)))
    assert len(told) >= 3
    assert "***" in repr(told)
    for secret in (SECRET, OWN):
        assert secret not in repr(told)
        assert secret.encode() not in house.log.read_bytes()


def test_what_goes_wrong_before_a_call_runs_holds_no_secret_either(house: House) -> None:
    with pytest.raises(UnknownRole) as raised:
        asyncio.run(house.call("test.read", key=house.key(Role.ADMIN), role=SECRET))
    assert SECRET not in raised.value.message
    assert SECRET.encode() not in house.log.read_bytes()


def told_of(house: House, name: str, *, key: str, holds: bool = False) -> Event:
    """The event of a call, whether it succeeds or fails.

    Args:
        holds: whether another operation holds its app.
    """

    async def scenario() -> Event:
        with suppress(IkomaError):
            async with house.locks.hold(AppName("shop"), Holder("deploy.up", "before")) if holds else nullcontext():
                await house.call(name, SHOP if name != "test.full" else {}, key=key)
        return house.pipeline.events.list_recent(1)[0]

    return asyncio.run(scenario())


def test_a_change_is_told_to_those_who_follow(house: House) -> None:
    async def scenario() -> Event:
        with house.pipeline.events.following() as events:
            await house.call("test.write", SHOP, key=house.key(Role.ADMIN))
            return await asyncio.wait_for(anext(events), 60)

    event = asyncio.run(scenario())
    assert (event.kind, event.severity, event.app, event.capability) == (
        EventKind.SUCCEEDED,
        Severity.INFO,
        *SHOP_WRITE,
    )
    assert (event.operation, event.message) == ("request-1", "")


@pytest.mark.usefixtures("impatient")
def test_a_failure_is_told_with_what_it_was_and_how_far_it_went(house: House) -> None:
    key = house.key(Role.ADMIN)
    failed = told_of(house, "test.full", key=key)
    assert (failed.kind, failed.severity, failed.capability) == (EventKind.FAILED, Severity.ERROR, "test.full")
    assert (failed.operation, failed.message) == ("request-1", house.entries()[-1]["error"])
    busy = told_of(house, "test.write", key=key, holds=True)
    assert (busy.kind, busy.severity, busy.app, busy.capability) == (EventKind.FAILED, Severity.WARNING, *SHOP_WRITE)


def test_what_is_told_of_a_failure_holds_no_secret(house: House) -> None:
    event = told_of(house, "test.break", key=house.key(Role.ADMIN))
    assert event.kind is EventKind.FAILED
    assert "***" in event.message
    assert SECRET not in event.message
    assert OWN not in event.message


def test_a_retry_is_answered_by_the_first_call_and_on_record_as_such(house: House) -> None:
    key = house.key(Role.ADMIN)
    asked = {**SHOP, "idempotencyKey": "once"}

    async def twice() -> None:
        assert await house.call("test.write", asked, key=key) == await house.call("test.write", asked, key=key)

    asyncio.run(twice())
    assert DONE == ["shop"]
    assert [(entry["result"], entry["code"]) for entry in house.entries()] == [
        ("started", None),
        ("success", None),
        ("success", "replayed"),
    ]


def test_a_retry_at_a_later_server_is_answered_by_the_first_call(house: House, tmp_path: Path) -> None:
    key = house.key(Role.ADMIN)
    asked = {**SHOP, "idempotencyKey": "once"}
    first = asyncio.run(house.call("test.write", asked, key=key))
    later = House(tmp_path)
    later.calls = 100
    assert asyncio.run(later.call("test.write", asked, key=key)) == first
    assert DONE == ["shop"]


def test_operations_that_ended_long_ago_are_known_from_the_journal_alone(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "_REMEMBER", 2)
    key = house.key(Role.ADMIN)
    admin = house.callers.authenticate(key)

    async def five() -> None:
        for _ in range(5):
            await house.call("test.write", SHOP, key=key)

    asyncio.run(five())
    found = [house.pipeline.operations.get(f"request-{number}", admin, Role.ADMIN) for number in range(1, 6)]
    assert [record.state for record in found] == ["succeeded"] * 5
    assert len(house.pipeline.operations._here) == 2


def test_a_door_that_asks_destroys_nothing_without_a_persons_word(house: House) -> None:
    key = house.key(Role.ADMIN)

    async def scenario() -> None:
        with pytest.raises(ConfirmationNeeded) as asked:
            await house.call("test.destroy", SHOP, key=key, asks=True)
        assert SECRET not in repr((asked.value.message, asked.value.details))
        token = asked.value.details["confirmation"]
        for wrong in ({**SHOP, "confirmation": "made-up"}, {"appName": "blog", "confirmation": token}):
            with pytest.raises(ConfirmationInvalid):
                await house.call("test.destroy", wrong, key=key)
        with pytest.raises(Declined):
            await house.call("test.destroy", {**SHOP, "confirmation": "declined"}, key=key, asks=True)
        assert DONE == []
        await house.call("test.destroy", {**SHOP, "confirmation": token}, key=key, asks=True)

    asyncio.run(scenario())
    assert DONE == ["shop"]


@pytest.mark.parametrize(
    ("name", "asks", "message"),
    [
        ("shopp", True, "There is no app 'shopp'."),
        ("blogg", True, "There is no blogg."),
        ("blogg", False, "There is no blogg."),
    ],
)
def test_what_destroys_names_nothing_that_may_have_been_meant(
    house: House, name: str, asks: bool, message: str
) -> None:
    with pytest.raises(IkomaError) as failed:
        asyncio.run(house.call("test.drop", {"appName": name}, key=house.key(Role.ADMIN), asks=asks))
    assert (failed.value.message, failed.value.hint) == (message, "Look it up.")


def test_a_key_that_needs_approval_destroys_nothing_without_another_keys(house: House) -> None:
    key, other = (
        house.key(Role.ADMIN, needs_approval=True),
        house.callers.find(house.callers.create("other", Role.ADMIN)[0]),
    )

    async def scenario() -> None:
        with pytest.raises(ApprovalNeeded):
            await house.call("test.destroy", SHOP, key=key)
        (request,) = house.approvals.list_visible(other, closed=False)
        assert "all rows" in request.summary
        assert SECRET not in repr(request)
        assert DONE == []
        house.approvals.decide(request.id, other, "approved")
        await house.call("test.destroy", SHOP, key=key)
        with pytest.raises(ApprovalNeeded):
            await house.call("test.destroy", SHOP, key=key)

    asyncio.run(scenario())
    assert DONE == ["shop"]


async def consented(house: House, key: str, way: str) -> dict[str, Any]:
    """How a call goes on, once it has the consent of another key, or of the person at the door."""
    with pytest.raises((ApprovalNeeded, ConfirmationNeeded)) as asked:
        await house.call("test.destroy", SHOP, key=key, asks=True)
    if way == "confirmation":
        return {**SHOP, "confirmation": asked.value.details["confirmation"]}
    other = house.callers.find(house.callers.create("other", Role.ADMIN)[0])
    house.approvals.decide(asked.value.details["approval"], other, "approved")
    return SHOP


WAYS = pytest.mark.parametrize("way", ["approval", "confirmation"])


@WAYS
@pytest.mark.usefixtures("impatient")
def test_an_app_that_is_busy_costs_no_consent(house: House, way: str) -> None:
    key = house.key(Role.ADMIN, needs_approval=way == "approval")

    async def scenario() -> None:
        arguments = await consented(house, key, way)
        async with house.locks.hold(AppName("shop"), Holder("deploy.up", "other")):
            with pytest.raises(AppBusy):
                await house.call("test.destroy", arguments, key=key)
        await house.call("test.destroy", arguments, key=key)
        with pytest.raises((ApprovalNeeded, ConfirmationInvalid)):
            await house.call("test.destroy", arguments, key=key)

    asyncio.run(scenario())
    assert DONE == ["shop"]
    # What has no consent is refused before it intends anything.
    assert [entry["result"] for entry in house.entries()] == ["error", "error", "started", "success", "error"]


@WAYS
def test_of_calls_at_once_one_goes_on_with_a_consent(house: House, way: str) -> None:
    key = house.key(Role.ADMIN, needs_approval=way == "approval")

    async def scenario() -> list[object]:
        arguments = await consented(house, key, way)
        calls = (house.call("test.destroy", arguments, key=key) for _ in range(5))
        return await asyncio.gather(*calls, return_exceptions=True)

    answers = asyncio.run(scenario())
    assert DONE == ["shop"]
    assert sum(isinstance(answer, ApprovalNeeded | ConfirmationInvalid) for answer in answers) == 4


def test_a_consent_of_the_admin_key_ends_when_it_is_rotated(tmp_path: Path) -> None:
    DONE.clear()
    house = House(tmp_path)
    key = house.key(Role.ADMIN, needs_approval=True)
    with pytest.raises(ApprovalNeeded) as asked:
        asyncio.run(house.call("test.destroy", SHOP, key=key))
    settings = tmp_path / ".env"
    settings.write_text(f"API_KEY_HASH={hashlib.sha256(b'first').hexdigest()}\n")
    house.approvals.decide(asked.value.details["approval"], house.callers.authenticate("first"), "approved")
    settings.write_text(settings.read_text() + f"API_KEY_HASH={hashlib.sha256(b'second').hexdigest()}\n")
    with pytest.raises(ApprovalNeeded):
        asyncio.run(house.call("test.destroy", SHOP, key=key))
    assert DONE == []


def test_what_takes_load_off_goes_on_where_its_intent_cannot_be_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    DONE.clear()
    house = House(tmp_path, audit=Path("/dev/full"))
    key = house.key(Role.ADMIN)
    with pytest.raises(AuditUnavailable):
        asyncio.run(house.call("test.write", SHOP, key=key))
    asyncio.run(house.call("test.stop", SHOP, key=key))
    assert DONE == ["shop"]
    assert "test.stop request-2 goes on without its audit entry" in caplog.text


def test_a_door_learns_who_asks_and_a_refusal_is_on_record(house: House) -> None:
    key = house.key(Role.OPERATOR)
    assert asyncio.run(house.pipeline.identify(key, "observer", what="door")).name == "operator"
    for wrong, role, kind in (("wrong", None, Unauthenticated), (key, "root", UnknownRole)):
        with pytest.raises(kind):
            asyncio.run(house.pipeline.identify(wrong, role, what="door"))
        entry = house.entries()[-1]
        assert (entry["capability"], entry["result"], entry["code"]) == ("door", "error", kind.code)


def test_what_a_door_answers_by_itself_counts_for_the_rate_of_a_key(tmp_path: Path) -> None:
    async def scenario() -> None:
        house = House(tmp_path, most=2)
        key = house.key(Role.OPERATOR)
        await house.pipeline.identify(key, None, what="door", counts=False)
        await house.pipeline.identify(key, None, what="door")
        await house.pipeline.authentication.list_visible(key, None, "local", counts=False)
        await house.pipeline.authentication.list_visible(key, None, "local")
        with pytest.raises(RateLimited):
            await house.pipeline.authentication.list_visible(key, None, "local")
        with pytest.raises(RateLimited):
            await house.pipeline.identify(key, None, what="door")
        assert house.entries()[-1]["code"] == RateLimited.code

    asyncio.run(scenario())


def test_a_proof_that_a_door_refused_is_on_record_and_an_address_waits_after_many(tmp_path: Path) -> None:
    house = House(tmp_path, failures=1)
    wrong = HookRefused()

    def refuse(address: str) -> type[IkomaError]:
        return type(house.pipeline.refuse_unproven("door", wrong, address))

    assert [refuse("192.0.2.1") for _ in range(3)] == [HookRefused, HookRefused, TooManyFailures]
    assert refuse("192.0.2.2") is HookRefused
    said = [(entry["capability"], entry["result"], entry["code"]) for entry in house.entries()]
    codes = [HookRefused.code, HookRefused.code, TooManyFailures.code, HookRefused.code]
    assert said == [("door", "error", code) for code in codes]


def test_of_calls_that_queue_only_the_newest_is_done_and_the_others_are_told(house: House) -> None:
    key = house.key(Role.ADMIN)

    async def scenario() -> list[str]:
        async with house.locks.hold("shop", Holder("other", "other")):
            calls = []
            for number, text in enumerate(("first", "second", "third"), 1):
                call = house.call("test.bring", {**SHOP, "text": text}, key=key)
                calls.append(asyncio.ensure_future(call))
                async with asyncio.timeout(60):
                    while not house.pipeline.operations.is_known(f"request-{number}"):
                        await asyncio.sleep(0.005)
        return [type(item).__name__ for item in await asyncio.gather(*calls, return_exceptions=True)]

    assert asyncio.run(scenario()) == ["OperationCancelled", "OperationCancelled", "dict"]
    assert DONE == ["third"]


@pytest.mark.usefixtures("impatient")
def test_two_changes_of_one_app_never_run_at_once(house: House) -> None:
    key = house.key(Role.ADMIN)

    async def scenario() -> list[str]:
        async with house.locks.hold("shop", Holder("other", "other")):
            calls = [house.call(name, SHOP, key=key) for name in ("test.write", "test.stop", "test.destroy")]
            return [type(item).__name__ for item in await asyncio.gather(*calls, return_exceptions=True)]

    assert asyncio.run(scenario()) == ["AppBusy"] * 3
    assert DONE == []
