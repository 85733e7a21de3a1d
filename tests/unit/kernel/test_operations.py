"""Changing calls as operations: they outlive their callers, are done once, and are put before a person."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import orjson
import psutil
import pytest

from ikoma.errors import (
    AppBusy,
    ConfirmationInvalid,
    ConfirmationNeeded,
    Declined,
    DeployFailed,
    IdempotencyMismatch,
    InvalidArguments,
    OperationCancelled,
    OperationNotFound,
    OutOfScope,
    ShuttingDown,
)
from ikoma.kernel.access.approvals import Approvals
from ikoma.kernel.access.caller import Caller
from ikoma.kernel.access.callers import Callers
from ikoma.kernel.access.rate_limit import RateLimit
from ikoma.kernel.access.throttle import Throttle
from ikoma.kernel.audit.log import AuditLog
from ikoma.kernel.call import Attempt, CallAnswer, CallContext
from ikoma.kernel.events import Events
from ikoma.kernel.locks import Holder, Locks
from ikoma.kernel.operations.journal import Journal
from ikoma.kernel.operations.operations import Operations
from ikoma.kernel.pipeline import Pipeline
from ikoma.kernel.registry import AppRequest, Loss, Registry, Request, Result, Sensitive, capability
from ikoma.kernel.state.store import Store
from ikoma.model import AppName, Effect, Role

REGISTRY = Registry()


class Work(AppRequest):
    held: bool = False
    """Whether it goes on only once `World.let_go` is set."""
    fail: bool = False


class Done(Result):
    number: int


class World:
    """Things that the capabilities of these tests change."""

    number = 0
    undone = 0
    let_go = asyncio.Event()


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.005)


async def begun(number: int = 1) -> None:
    """Until so many works have begun."""
    await until(lambda: World.number == number)


@capability("test.work", role=Role.OPERATOR, effect=Effect.CHANGES, into=REGISTRY)
async def work(call: CallContext, request: Work) -> Done:
    """Work, until it is let go where it is held."""
    World.number += 1
    number = World.number
    call.progress("first half", 0.5)
    try:
        if request.held:
            await World.let_go.wait()
    except asyncio.CancelledError:
        World.undone += 1
        raise
    call.progress("second half", 1.0)
    if request.fail:
        raise DeployFailed("It broke.", hint="Mend it.", service="web")
    return Done(number=number)


@capability("test.queue", role=Role.OPERATOR, effect=Effect.CHANGES, queued=True, into=REGISTRY)
async def queue(call: CallContext, request: Work) -> Done:
    """Work when it is free."""
    return await work(call, request)


class Made(Result):
    key: Annotated[str, Sensitive("key")]


@capability("test.secret", role=Role.ADMIN, effect=Effect.CHANGES, into=REGISTRY)
async def secret(call: CallContext, request: Request) -> Made:
    """Show something once."""
    return Made(key="hunter2-hunter2")


async def losses(call: CallContext, request: AppRequest) -> Loss:
    return Loss(f"Remove {request.app_name}.", ("table orders (3 rows)",), ("backup a.sql",))


@capability("test.destroy", role=Role.ADMIN, effect=Effect.DESTROYS, loses=losses, into=REGISTRY)
async def destroy(call: CallContext, request: AppRequest) -> Done:
    """Destroy."""
    World.number += 1
    return Done(number=World.number)


class House:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store(folder / "state.db")
        self.callers = Callers(self.store, folder / ".env", None)
        self.operations = Operations(Journal(self.store))
        self.locks = Locks(folder)
        self.pipeline = Pipeline(
            REGISTRY,
            callers=self.callers,
            rate_limit=RateLimit(60_000, 1000),
            audit=AuditLog(folder / "audit.jsonl", folder / "audit-head"),
            approvals=Approvals(self.store),
            throttle=Throttle(1_000_000),
            locks=self.locks,
            events=Events(self.store),
            operations=self.operations,
            make_call=lambda identified: identified,
        )
        self.key = self.callers.create("ann", Role.ADMIN)[1]
        self.calls = 0

    async def call(self, name: str, arguments: Mapping[str, Any], *, key: str | None = None, **more: Any) -> CallAnswer:
        async def body(limit: int) -> Mapping[str, Any]:
            return arguments

        self.calls += 1
        return await self.pipeline.execute(Attempt(name, key or self.key, None, f"request-{self.calls}", body, **more))

    async def result(self, name: str, arguments: Mapping[str, Any], **more: Any) -> Any:
        return orjson.loads((await self.call(name, arguments, **more)).body)

    def caller(self, key: str | None = None) -> Caller:
        return self.callers.authenticate(key or self.key)

    def audit(self) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in (self.folder / "audit.jsonl").read_bytes().splitlines()]


@pytest.fixture
def house(tmp_path: Path) -> House:
    World.number = World.undone = 0
    World.let_go = asyncio.Event()
    return House(tmp_path)


def test_a_call_that_takes_longer_than_it_may_wait_goes_on_as_an_operation(house: House) -> None:
    async def scenario() -> None:
        answer = await house.call("test.work", {"appName": "shop", "held": True, "wait": 0})
        said = orjson.loads(answer.body)
        assert answer.operation == said["operationId"] == "request-1"
        assert said["state"] == "running"
        assert "next" not in said, "this registry has no operations.wait"
        steps: list[tuple[str, float | None]] = []
        waiting = asyncio.ensure_future(
            house.operations.wait(
                "request-1", house.caller(), Role.ADMIN, seconds=60, progress=lambda m, f=None: steps.append((m, f))
            )
        )
        await asyncio.sleep(0)  # it follows
        World.let_go.set()
        ended = await waiting
        assert ended.state == "succeeded"
        assert orjson.loads(ended.result or b"") == {"number": 1}
        assert [step.name for step in ended.steps] == ["first half", "second half"]
        assert ("second half", 1.0) in steps

    asyncio.run(scenario())
    assert [entry["result"] for entry in house.audit()] == ["started", "success"]


def test_work_goes_on_when_its_caller_has_gone(house: House) -> None:
    async def scenario() -> None:
        call = asyncio.ensure_future(house.call("test.work", {"appName": "shop", "held": True}))
        await begun()
        call.cancel()
        await asyncio.wait([call])
        World.let_go.set()
        ended = await house.operations.wait(
            "request-1", house.caller(), Role.ADMIN, seconds=60, progress=lambda m, f=None: None
        )
        assert ended.state == "succeeded"

    asyncio.run(scenario())
    assert World.undone == 0


def test_a_retry_with_the_same_key_is_done_once(house: House) -> None:
    async def scenario() -> None:
        asked = {"appName": "shop", "held": True, "idempotencyKey": "k1"}
        both = asyncio.gather(house.result("test.work", asked), house.result("test.work", asked))
        await begun()
        await asyncio.sleep(0.05)  # the second has come by now, and found it
        World.let_go.set()
        assert await both == [{"number": 1}, {"number": 1}]
        del asked["idempotencyKey"]
        assert await house.result("test.work", asked, idempotency_key="k1") == {"number": 1}
        with pytest.raises(IdempotencyMismatch, match="request-1"):
            await house.call("test.work", {"appName": "other", "idempotencyKey": "k1"})
        other = house.callers.create("bob", Role.ADMIN)[1]
        assert await house.result("test.work", {**asked, "idempotencyKey": "k1"}, key=other) == {"number": 2}

    asyncio.run(scenario())
    assert World.number == 2
    assert [entry["code"] for entry in house.audit() if entry["code"]] == ["replayed"] * 2 + ["idempotency_mismatch"]


def test_a_retry_gets_the_first_failure_also_after_a_restart(house: House) -> None:
    asked = {"appName": "shop", "fail": True, "idempotencyKey": "k2"}
    for again in (house, house, House(house.folder)):
        again.key = house.key
        with pytest.raises(DeployFailed) as raised:
            asyncio.run(again.call("test.work", asked))
        assert (raised.value.message, raised.value.hint, raised.value.details) == (
            "It broke.",
            "Mend it.",
            {"service": "web"},
        )
    assert World.number == 1


@pytest.mark.usefixtures("impatient")
def test_what_never_began_may_be_done_by_a_retry(house: House) -> None:
    asked = {"appName": "shop", "idempotencyKey": "k3"}

    async def scenario() -> None:
        async with house.locks.hold(AppName("shop"), Holder("deploy.up", "other")):
            with pytest.raises(AppBusy):
                await house.call("test.work", asked)
        assert await house.result("test.work", asked) == {"number": 1}

    asyncio.run(scenario())


@pytest.mark.usefixtures("impatient")
def test_what_is_queued_waits_its_turn_and_only_the_newest_gets_one(house: House) -> None:
    async def scenario() -> list[Any]:
        async with house.locks.hold(AppName("shop"), Holder("deploy.up", "other")):
            calls = []
            for number, app in enumerate(("shop", "blog", "shop", "shop"), 1):
                calls.append(asyncio.ensure_future(house.call("test.queue", {"appName": app})))
                await until(lambda: house.operations.is_known(f"request-{number}"))  # noqa: B023
            await asyncio.sleep(0.5)  # longer than others wait for a lock
        return await asyncio.gather(*calls, return_exceptions=True)

    first, other, second, third = asyncio.run(scenario())
    assert isinstance(other, CallAnswer)
    assert isinstance(third, CallAnswer)
    for withdrawn in (first, second):
        assert isinstance(withdrawn, OperationCancelled)
        assert withdrawn.message == "A newer call took the place of this one."
    assert World.number == 2
    assert World.undone == 0


def test_what_is_queued_and_has_begun_is_left_alone(house: House) -> None:
    async def scenario() -> list[Any]:
        calls = [asyncio.ensure_future(house.call("test.queue", {"appName": "shop", "held": True}))]
        await begun()
        calls.append(asyncio.ensure_future(house.call("test.queue", {"appName": "shop"})))
        await until(lambda: house.operations.is_known("request-2"))
        await asyncio.sleep(0.1)  # it would have stopped the first by now
        World.let_go.set()
        return [orjson.loads((await call).body) for call in calls]

    assert asyncio.run(scenario()) == [{"number": 1}, {"number": 2}]


def test_cancelling_ends_the_work_and_lets_it_be_put_right(house: House) -> None:
    async def scenario() -> None:
        call = asyncio.ensure_future(house.call("test.work", {"appName": "shop", "held": True}))
        await begun()
        ended = await house.operations.cancel("request-1", house.caller(), Role.ADMIN)
        assert ended.state == "cancelled"
        with pytest.raises(OperationCancelled):
            await call
        async with house.locks.hold(AppName("shop"), Holder("test", "free")):
            pass
        assert (await house.operations.cancel("request-1", house.caller(), Role.ADMIN)).state == "cancelled"

    asyncio.run(scenario())
    assert World.undone == 1
    assert [(entry["result"], entry["code"]) for entry in house.audit()] == [
        ("started", None),
        ("error", "operation_cancelled"),
    ]


def test_nobody_cancels_or_sees_what_is_not_theirs(house: House) -> None:
    same_app = house.caller(house.callers.create("bob", Role.OPERATOR, apps=["shop"])[1])
    other_app = house.caller(house.callers.create("eve", Role.OPERATOR, apps=["blog"])[1])

    async def scenario() -> None:
        call = asyncio.ensure_future(house.call("test.work", {"appName": "shop", "held": True}))
        await begun()
        assert house.operations.get("request-1", same_app, Role.OPERATOR).state == "running"
        with pytest.raises(OutOfScope):
            await house.operations.cancel("request-1", same_app, Role.OPERATOR)
        with pytest.raises(OperationNotFound):
            await house.operations.cancel("request-1", other_app, Role.OPERATOR)
        assert house.operations.list_newest(10, None, other_app, Role.OPERATOR) == []
        World.let_go.set()
        await call

    asyncio.run(scenario())


def test_a_server_that_was_killed_leaves_an_operation_that_says_so(house: House) -> None:
    asyncio.run(house.call("test.work", {"appName": "shop", "idempotencyKey": "k4"}))
    with sqlite3.connect(house.folder / "state.db") as database:
        database.execute("UPDATE operations SET state = 'running', result = NULL, process = '4194304@1.00'")
    journal = Journal(Store(house.folder / "state.db"))
    assert [record.id for record in journal.recover()] == ["request-1"]
    later = House(house.folder)
    later.key, later.calls = house.key, 10
    assert later.operations.get("request-1", later.caller(), Role.ADMIN).state == "interrupted"
    assert asyncio.run(later.result("test.work", {"appName": "shop", "idempotencyKey": "k4"})) == {"number": 2}


_OTHER_SERVER = """
import sys, time
from pathlib import Path
from ikoma.kernel.operations.journal import Journal, Record
from ikoma.kernel.state.store import Store
Journal(Store(Path(sys.argv[1]))).begin(Record("f" * 24, "test.work", "shop", "1", "alice", {}, "", None))
print("begun", flush=True)
time.sleep(600)
"""


def test_work_of_another_server_goes_on_when_the_clock_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = tmp_path / "state.db"
    other = subprocess.Popen([sys.executable, "-c", _OTHER_SERVER, str(state)], stdout=subprocess.PIPE)
    assert other.stdout is not None
    assert other.stdout.readline() == b"begun\n"
    booted = psutil.boot_time()
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: booted + 7)  # it is counted back from the clock
    journal = Journal(Store(state))
    assert journal.recover() == []
    other.kill()
    other.wait()
    assert [record.id for record in journal.recover()] == ["f" * 24]


def test_a_server_that_stops_lets_work_end_and_takes_no_more(house: House) -> None:
    async def scenario() -> None:
        work = asyncio.ensure_future(house.call("test.work", {"appName": "shop", "held": True}))
        await begun()
        closing = asyncio.ensure_future(house.operations.close(60))
        await asyncio.sleep(0)
        with pytest.raises(ShuttingDown):
            await house.call("test.work", {"appName": "late"})
        assert not closing.done()
        World.let_go.set()
        assert orjson.loads((await work).body) == {"number": 1}
        await closing

    asyncio.run(scenario())
    records = house.operations.list_newest(9, None, house.caller(), Role.ADMIN)
    assert [(record.app, record.state) for record in records] == [("shop", "succeeded")]


def test_a_server_that_stops_cuts_off_what_takes_too_long(house: House) -> None:
    async def scenario() -> None:
        work = asyncio.ensure_future(house.call("test.work", {"appName": "blog", "held": True}))
        await begun()
        await house.operations.close(0.1)
        with pytest.raises(ShuttingDown):
            await work

    asyncio.run(scenario())
    assert house.operations.get("request-1", house.caller(), Role.ADMIN).state == "interrupted"
    assert World.undone == 1


def test_a_server_that_drains_takes_no_more_and_waits_for_what_callers_began(house: House) -> None:
    async def scenario() -> None:
        work = asyncio.ensure_future(house.call("test.work", {"appName": "shop", "held": True}))
        await begun()
        async with house.operations.begin_own("own-1", "ikoma.settle", "blog"):  # it would wait for this, which goes on
            draining = asyncio.ensure_future(house.operations.drain())
            await asyncio.sleep(0)
            with pytest.raises(ShuttingDown):
                await house.call("test.work", {"appName": "late"})
            assert not draining.done()
            World.let_go.set()
            assert orjson.loads((await work).body) == {"number": 1}
            await asyncio.wait_for(draining, 60)

    asyncio.run(scenario())


def test_nobody_sees_the_operations_of_what_their_key_does_not_reach(house: House) -> None:
    asyncio.run(house.call("test.work", {"appName": "shop"}))
    reaching = house.caller(house.callers.create("ops", Role.ADMIN, capabilities=["test.w*"])[1])
    others = house.caller(house.callers.create("watch", Role.ADMIN, capabilities=["operations.*"])[1])
    assert house.operations.get("request-1", reaching, Role.ADMIN).state == "succeeded"
    with pytest.raises(OperationNotFound):
        house.operations.get("request-1", others, Role.ADMIN)
    assert house.operations.list_newest(10, None, others, Role.ADMIN) == []


def test_no_record_keeps_what_is_shown_once(house: House) -> None:
    async def scenario() -> None:
        assert await house.result("test.secret", {"idempotencyKey": "k", "wait": 0}) == {"key": "hunter2-hunter2"}
        assert await house.result("test.secret", {"idempotencyKey": "k"}) == {"key": "[shown once]"}
        other = house.caller(house.callers.create("bob", Role.ADMIN)[1])
        for caller in (house.caller(), other):
            record = house.operations.get("request-1", caller, Role.ADMIN)
            assert orjson.loads(record.result or b"") == {"key": "[shown once]"}

    asyncio.run(scenario())
    for file in house.folder.iterdir():
        if file.is_file():
            assert b"hunter2" not in file.read_bytes(), file
    later = House(house.folder)
    later.key = house.key
    assert asyncio.run(later.result("test.secret", {"idempotencyKey": "k"})) == {"key": "[shown once]"}


def test_a_destroying_call_goes_on_only_with_a_persons_word(house: House) -> None:
    async def scenario() -> None:
        asked = {"appName": "shop"}
        with pytest.raises(ConfirmationNeeded) as raised:
            await house.call("test.destroy", asked, asks=True)
        assert raised.value.details["lost"] == ["table orders (3 rows)"]
        assert raised.value.details["kept"] == ["backup a.sql"]
        token = raised.value.details["confirmation"]
        bob = house.callers.create("bob", Role.ADMIN)[1]
        for wrong, how in (
            ({"appName": "other", "confirmation": token}, {}),
            ({**asked, "confirmation": token}, {"key": bob}),
            ({**asked, "confirmation": token[:-4] + "AAAA"}, {}),
            ({**asked, "confirmation": "no token at all"}, {}),
            ({**asked, "confirmation": "é" * 20}, {}),
        ):
            with pytest.raises(ConfirmationInvalid):
                await house.call("test.destroy", wrong, asks=True, **how)
        assert World.number == 0
        assert await house.result("test.destroy", {**asked, "confirmation": token}, asks=True) == {"number": 1}
        with pytest.raises(ConfirmationInvalid):
            await house.call("test.destroy", {**asked, "confirmation": token}, asks=True)

    asyncio.run(scenario())
    assert World.number == 1


def test_a_decline_changes_nothing_and_is_on_record(house: House) -> None:
    with pytest.raises(Declined):
        asyncio.run(house.call("test.destroy", {"appName": "shop", "confirmation": "declined"}, asks=True))
    assert World.number == 0
    assert [(entry["result"], entry["code"]) for entry in house.audit()] == [("error", "declined")]


def test_a_door_that_does_not_ask_destroys_at_once(house: House) -> None:
    assert asyncio.run(house.result("test.destroy", {"appName": "shop"})) == {"number": 1}


def test_controls_are_checked_like_other_arguments(house: House) -> None:
    for wrong in ({"wait": -1}, {"wait": "soon"}, {"idempotencyKey": ""}, {"confirmation": "x"}):
        with pytest.raises(InvalidArguments, match=next(iter(wrong))):
            asyncio.run(house.call("test.work", {"appName": "shop", **wrong}))
    assert World.number == 0


SETTLE = ("own-1", "ikoma.settle", "shop")


def test_what_ikoma_does_by_itself_is_an_operation_that_callers_of_the_app_wait_for(house: House) -> None:
    limited = house.caller(house.callers.create("bob", Role.OPERATOR, apps=["shop"], capabilities=["test.*"])[1])
    elsewhere = house.caller(house.callers.create("eve", Role.OPERATOR, apps=["blog"])[1])

    async def scenario() -> list[str]:
        said: list[str] = []

        def hear(text: str, fraction: float | None = None) -> None:
            said.append(text)

        async with house.operations.begin_own(*SETTLE) as progress:
            [listed] = house.operations.list_newest(10, "shop", limited, Role.OPERATOR)
            assert (listed.id, listed.capability, listed.caller, listed.state) == (*SETTLE[:2], "ikoma", "running")
            waiting = asyncio.ensure_future(
                house.operations.wait("own-1", limited, Role.OPERATOR, seconds=60, progress=hear)
            )
            await asyncio.sleep(0)  # it follows
            progress("undoing")
            with pytest.raises(OutOfScope, match="by itself"):
                await house.operations.cancel("own-1", house.caller(), Role.ADMIN)
            with pytest.raises(OperationNotFound):
                house.operations.get("own-1", elsewhere, Role.OPERATOR)
        ended = await waiting
        assert (ended.state, [step.name for step in ended.steps]) == ("succeeded", ["looking after shop", "undoing"])
        return said

    assert asyncio.run(scenario()) == ["undoing"]
    assert Journal(Store(house.folder / "state.db")).find("own-1") is not None


def test_a_glance_that_nobody_asks_for_leaves_no_record(house: House) -> None:
    async def scenario() -> None:
        async with house.operations.begin_own(*SETTLE):
            await asyncio.sleep(0)

    asyncio.run(scenario())
    assert house.operations.list_newest(10, None, house.caller(), Role.ADMIN) == []


def test_what_fails_again_and_again_is_listed_once(house: House) -> None:
    async def fail(number: int) -> None:
        with pytest.raises(DeployFailed):
            async with house.operations.begin_own(f"own-{number}", *SETTLE[1:]) as progress:
                progress("undoing")
                raise DeployFailed("The database cannot be restored.")

    for number in range(3):
        asyncio.run(fail(number))
    [kept] = house.operations.list_newest(10, None, house.caller(), Role.ADMIN)
    assert (kept.id, kept.state) == ("own-2", "failed")
    assert kept.failure is not None
    assert kept.failure["error"] == "The database cannot be restored."


def test_of_the_lines_of_a_build_the_last_is_kept_whatever_step_it_belongs_to(house: House) -> None:
    said = ["build: step 1 of 2: FROM a", "build | one", "build: step 2 of 2: RUN b", "build | two", "build | three"]

    async def fail() -> None:
        with pytest.raises(DeployFailed):
            async with house.operations.begin_own(*SETTLE) as progress:
                for message in [*said, "web: created"]:
                    progress(message)
                raise DeployFailed("It broke.")

    asyncio.run(fail())
    steps = house.operations.get("own-1", house.caller(), Role.ADMIN).steps
    assert [step.name for step in steps if step.name.startswith("build")] == [said[0], said[2], said[4]]
    assert steps[-1].name == "web: created"


def test_what_lasts_is_journalled_though_it_says_nothing(house: House) -> None:
    async def scenario() -> None:
        async with house.operations.begin_own(*SETTLE):
            await asyncio.sleep(0.8)

    asyncio.run(scenario())
    assert house.operations.get("own-1", house.caller(), Role.ADMIN).state == "succeeded"
