from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from ikoma.kernel import events as module
from ikoma.kernel.events import Event, EventKind, Events, Severity
from ikoma.kernel.state.store import Store
from tests.unit.kernel.test_waits import STATE, kept_by_another

ELSEWHERE = """
import sys
from pathlib import Path
from ikoma.kernel.events import Event, Events, EventKind, Severity
from ikoma.kernel.state.store import Store
events = Events(Store(Path(sys.argv[1])))
for number in range(int(sys.argv[2])):
    events.publish(Event(EventKind.FAILED, Severity.ERROR, "shop", f"o{number}", "deploy.up", "It failed."))
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(tmp_path / "state.db")) as made:
        yield made


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.05)


@asynccontextmanager
async def relaying(events: Events) -> AsyncIterator[None]:
    task = asyncio.ensure_future(events.relay())
    try:
        yield
    finally:
        task.cancel()


async def elsewhere(store: Store, number: int = 1) -> None:
    """Publish events in another process."""
    argv = [sys.executable, "-c", ELSEWHERE, store.folder / "state.db", f"{number}"]
    await asyncio.to_thread(subprocess.run, argv, check=True)


def health(message: str) -> Event:
    return Event(EventKind.HEALTH, Severity.INFO, "shop", message=message)


def test_what_another_process_tells_is_heard_here_whole_and_once(store: Store) -> None:
    events = Events(store)

    async def scenario() -> list[Event]:
        await elsewhere(store)  # before anybody follows: not for them
        async with relaying(events):
            with events.following() as one, events.following() as other:
                await elsewhere(store, 2)
                events.publish(health("ours"))
                heard = [await asyncio.wait_for(anext(one), 60) for _ in range(3)]
                assert [await asyncio.wait_for(anext(other), 60) for _ in range(3)] == heard
                await asyncio.sleep(0.2)
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(anext(one), 0.2)
                return heard

    heard = asyncio.run(scenario())
    theirs = [event for event in heard if event.kind is EventKind.FAILED]
    assert [event.operation for event in theirs] == ["o0", "o1"]
    assert (theirs[0].severity, theirs[0].app) == (Severity.ERROR, "shop")
    assert (theirs[0].capability, theirs[0].message) == ("deploy.up", "It failed.")
    assert [event.message for event in heard if event not in theirs] == ["ours"]


def test_while_nobody_follows_the_state_is_not_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    events = Events(store)

    def look() -> None:
        raise AssertionError("looked for nobody")

    monkeypatch.setattr(events, "_relay", look)

    async def scenario() -> None:
        task = asyncio.ensure_future(events.relay())
        await asyncio.sleep(0.3)
        assert not task.done()
        task.cancel()

    asyncio.run(scenario())


def test_only_the_last_events_are_kept_and_the_newest_is_read_first(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_KEEP", 3)
    events = Events(store)
    for number in range(10):
        events.publish(Event(EventKind.FAILED, operation=f"{number}", message="x" * 3000))
    assert [event.operation for event in events.list_recent(100)] == ["9", "8", "7"]
    assert all(len(event.message) <= 1000 for event in events.list_recent(100))


def test_who_does_not_keep_up_misses_the_oldest(store: Store) -> None:
    events = Events(store)

    async def scenario() -> str:
        with events.following() as followed:
            for number in range(300):
                events.publish(health(f"{number}"))
            return (await anext(followed)).message

    assert asyncio.run(scenario()) == "44"


def test_an_event_is_told_at_once_and_kept_later_where_another_process_writes(store: Store) -> None:
    events = Events(store)

    async def scenario() -> None:
        async with relaying(events):
            with events.following() as followed:
                async with kept_by_another(STATE, store.folder / "state.db"):
                    events.publish(health("now"))
                    assert (await asyncio.wait_for(anext(followed), 1)).message == "now"
                    assert events.list_recent(1) == []
                async with asyncio.timeout(60):
                    while not events.list_recent(1):
                        await asyncio.sleep(0.05)

    asyncio.run(scenario())


def test_an_event_that_finds_no_room_is_told_all_the_same(store: Store) -> None:
    events = Events(store)
    store.execute("PRAGMA max_page_count = 1")

    async def scenario() -> None:
        with events.following() as followed:
            for number in range(100):
                events.publish(health(f"{number}" * 900))
                await asyncio.wait_for(anext(followed), 1)

    asyncio.run(scenario())
    store.execute("PRAGMA max_page_count = 100000")
    events.publish(health("later"))
    assert events.list_recent(1)[0].message == "later"
