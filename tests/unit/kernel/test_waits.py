"""No call is held up by what another waits for: the event loop goes on while another process writes the same files."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from ikoma.app_folder import App
from ikoma.apps.app import Apps
from ikoma.apps.policy.waivers import Waivers
from ikoma.apps.source.webhook import Delivery, Webhooks
from ikoma.errors import ApprovalNeeded, AuditUnavailable, DiskFull
from ikoma.kernel.audit.chain import verify
from ikoma.kernel.audit.entry import AuditEntry
from ikoma.kernel.audit.log import AuditLog
from ikoma.kernel.state import store, waiting
from ikoma.kernel.state.store import Store
from ikoma.model import AppName, Role
from tests.unit.kernel.small_pipeline import House

SHOP = {"appName": "shop"}
LONG = 60.0

AUDIT = """
import fcntl, os, sys
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(file, fcntl.LOCK_EX)
print(flush=True)
sys.stdin.read()
"""
STATE = """
import sqlite3, sys
state = sqlite3.connect(sys.argv[1], isolation_level=None)
state.execute("BEGIN IMMEDIATE")
print(flush=True)
sys.stdin.read()
"""


@asynccontextmanager
async def kept_by_another(script: str, path: Path) -> AsyncIterator[subprocess.Popen[bytes]]:
    """A process that keeps a file locked inside the block, unless its standard input is closed before."""
    with subprocess.Popen([sys.executable, "-c", script, path], stdin=-1, stdout=-1) as other:
        assert other.stdout is not None
        await asyncio.to_thread(other.stdout.readline)
        try:
            yield other
        finally:
            other.kill()


async def waits(work: Callable[[], Awaitable[object]], script: str, path: Path) -> None:
    """Hold a file locked elsewhere, see that the work waits and the loop does not, and let the work end."""
    async with kept_by_another(script, path) as other:
        working = asyncio.ensure_future(work())
        with not_held_up():
            for _ in range(20):
                await asyncio.sleep(0.01)
        assert not working.done()
        other.kill()
        await asyncio.wait_for(working, 60)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have whoever waits for another process wait so long that no slow machine is taken for it."""
    monkeypatch.setattr(waiting, "PATIENCE", 2 * LONG)
    monkeypatch.setattr(store, "PATIENCE", 2 * LONG)


@contextmanager
def not_held_up() -> Iterator[None]:
    """See that the block does not wait for the other process."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < LONG, "it stood still"


def audit(folder: Path) -> AuditLog:
    return AuditLog(folder / "audit.jsonl", folder / "head")


def test_an_intent_waits_for_another_writer_of_the_log_and_nobody_else_does(tmp_path: Path) -> None:
    log = audit(tmp_path)
    asyncio.run(waits(lambda: log.append_durably(AuditEntry("1", "test.write")), AUDIT, tmp_path / "head"))
    assert b'"requestId":"1"' in (tmp_path / "audit.jsonl").read_bytes()


def test_a_read_and_an_anchor_wait_for_another_writer_of_the_log(tmp_path: Path) -> None:
    log = audit(tmp_path)
    asyncio.run(waits(lambda: log.append_with_others(AuditEntry("1", "test.read")), AUDIT, tmp_path / "head"))
    asyncio.run(waits(log.read_head, AUDIT, tmp_path / "head"))


def test_what_nobody_waits_for_is_written_once_the_log_is_free(tmp_path: Path) -> None:
    log = audit(tmp_path)

    async def scenario() -> None:
        async with kept_by_another(AUDIT, tmp_path / "head"):
            for number in range(3):
                with not_held_up():
                    log.append_if_possible(AuditEntry(f"{number}", "test.read"))
        await log.append_with_others(AuditEntry("3", "test.read"))

    asyncio.run(scenario())
    found = verify(tmp_path / "audit.jsonl", tmp_path / "head")
    assert (found.valid, found.entries) == (True, 4)


def test_what_still_waits_at_the_end_is_written_then(tmp_path: Path) -> None:
    log = audit(tmp_path)

    async def scenario() -> None:
        async with kept_by_another(AUDIT, tmp_path / "head"):
            log.append_if_possible(AuditEntry("1", "test.read"))

    asyncio.run(scenario())
    log.close()
    assert verify(tmp_path / "audit.jsonl", tmp_path / "head").entries == 1


def test_a_log_that_another_keeps_for_long_refuses_changes_and_tells_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "PATIENCE", 0.2)
    log = audit(tmp_path)

    async def scenario() -> None:
        async with kept_by_another(AUDIT, tmp_path / "head"):
            with pytest.raises(AuditUnavailable, match="another process keeps it locked"):
                await log.append_durably(AuditEntry("1", "test.write"))
            await log.append_with_others(AuditEntry("2", "test.read"))
        await log.append_durably(AuditEntry("3", "test.write"))

    asyncio.run(scenario())
    found = verify(tmp_path / "audit.jsonl", tmp_path / "head")
    assert (found.valid, found.lost) == (True, 2)


def test_a_read_is_answered_while_a_change_waits_for_another_writer_of_the_state(tmp_path: Path) -> None:
    house = House(tmp_path)
    key = house.key(Role.ADMIN)

    async def scenario() -> None:
        async with kept_by_another(STATE, tmp_path / "state.db") as other:
            change = asyncio.ensure_future(house.call("test.write", SHOP, key=key))
            for _ in range(5):
                with not_held_up():
                    assert await house.call("test.read", key=key) == {"done": True}
                await asyncio.sleep(0.05)
            assert not change.done()
            other.kill()
            assert await asyncio.wait_for(change, 60) == {"done": True}

    asyncio.run(scenario())


def test_a_call_asks_for_consent_once_the_state_can_be_written(tmp_path: Path) -> None:
    house = House(tmp_path)
    key = house.key(Role.ADMIN, needs_approval=True)

    async def ask() -> None:
        with pytest.raises(ApprovalNeeded):
            await house.call("test.destroy", SHOP, key=key)

    asyncio.run(waits(ask, STATE, tmp_path / "state.db"))


def test_work_that_ends_while_another_writes_is_journalled_after(tmp_path: Path) -> None:
    house = House(tmp_path)
    operations = house.pipeline.operations
    admin = house.callers.authenticate(house.key(Role.ADMIN))

    async def settle(goes_on: asyncio.Event) -> None:
        async with operations.begin_own("own-1", "ikoma.settle", "shop") as progress:
            progress("undoing")
            await goes_on.wait()
            progress("still undoing")

    async def scenario() -> None:
        goes_on = asyncio.Event()
        working = asyncio.ensure_future(settle(goes_on))
        await asyncio.sleep(0.7)  # it has told of a step, and may write the next one down
        async with kept_by_another(STATE, tmp_path / "state.db") as other:
            with not_held_up():
                goes_on.set()
                while operations.get("own-1", admin, Role.ADMIN).state != "succeeded":
                    await asyncio.sleep(0.01)
            assert not working.done()
            other.kill()
            await asyncio.wait_for(working, 60)

    asyncio.run(scenario())
    [record] = House(tmp_path).pipeline.operations.list_newest(10, None, admin, Role.ADMIN)
    assert (record.state, [step.name for step in record.steps][1:]) == ("succeeded", ["undoing", "still undoing"])


def test_nothing_that_is_written_on_the_loop_waits_there(tmp_path: Path) -> None:
    """A write that forgets to wait its turn is refused at once: it never holds up the others."""
    state = Store(tmp_path / "state.db")
    hooks, waivers = Webhooks(state, Apps(tmp_path)), Waivers(state)
    app = App(AppName("shop"), tmp_path / "shop")

    async def scenario() -> None:
        async with kept_by_another(STATE, tmp_path / "state.db"):
            for work in (
                lambda: hooks.record_delivery(app.name, Delivery("now", "github", "push", "1")),
                lambda: waivers.forget(app.name),
            ):
                with not_held_up(), pytest.raises(DiskFull, match="locked"):
                    work()

    asyncio.run(scenario())


def test_a_state_that_another_keeps_for_long_is_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "PATIENCE", 0.2)
    house = House(tmp_path)
    key = house.key(Role.ADMIN)

    async def scenario() -> None:
        async with kept_by_another(STATE, tmp_path / "state.db"):
            with pytest.raises(DiskFull, match="locked"):
                await house.call("test.write", SHOP, key=key)
            assert await house.call("test.stop", SHOP, key=key) == {"done": True}  # takes load off, whatever happens

    asyncio.run(scenario())


def test_a_key_that_is_used_while_another_writes_is_noted_with_its_next_call(tmp_path: Path) -> None:
    house = House(tmp_path)
    key = house.key(Role.OBSERVER)

    async def scenario() -> None:
        async with kept_by_another(STATE, tmp_path / "state.db"):
            with not_held_up():
                await house.call("test.read", key=key)
            assert house.callers.list_keys()[0].last_used_at is None
        await house.call("test.read", key=key)
        assert house.callers.list_keys()[0].last_used_at is not None

    asyncio.run(scenario())
