"""Events kept of a session: few, not for long, and never another session's."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from mcp.server.streamable_http import EventMessage
from mcp_types import JSONRPCMessage, JSONRPCNotification, JSONRPCResponse

from ikoma.transports.mcp.streams import replay
from ikoma.transports.mcp.streams.replay import RecentEvents, SessionEvents


def answer(identity: int, text: str = "") -> JSONRPCResponse:
    return JSONRPCResponse(jsonrpc="2.0", id=identity, result={"text": text})


async def replayed(store: SessionEvents, last: str) -> list[Any]:
    found: list[JSONRPCMessage] = []

    async def send(event: EventMessage) -> None:
        found.append(event.message)

    await store.replay_events_after(last, send)
    return found


def session(recent: RecentEvents, name: str) -> SessionEvents:
    store = recent.make()
    recent.note_began(name, store)
    return store


def test_a_stream_is_replayed_from_its_place_without_the_others() -> None:
    async def conversation() -> None:
        store = session(RecentEvents(), "one")
        begin = await store.store_event("7", None)
        await store.store_event("8", answer(8))
        told = JSONRPCNotification(jsonrpc="2.0", method="notifications/progress", params={"progress": 1})
        after = await store.store_event("7", told)
        await store.store_event("7", answer(7, "é"))
        assert await replayed(store, begin) == [told, answer(7, "é")]
        assert await replayed(store, after) == [answer(7, "é")]
        assert await replayed(store, "1") == []

    asyncio.run(conversation())


def test_a_session_keeps_a_bounded_number_of_events_and_bytes() -> None:
    async def conversation() -> None:
        store = session(RecentEvents(), "one")
        first = await store.store_event("7", None)
        for number in range(replay._MOST_EVENTS - 1):
            await store.store_event("7", answer(number, "x" * 100_000))
            assert store.bytes <= replay._MOST_BYTES
        found = await replayed(store, first)
        assert len(found) == replay._MOST_EVENTS - 1
        assert "not kept" in found[0].error.message  # who waits for it is told
        assert found[-1].result == {"text": "x" * 100_000}
        await store.store_event("7", None)
        assert await replayed(store, first) == []
        large = await store.store_event("9", None)
        await store.store_event("9", answer(9, "x" * (replay._MOST_BYTES + 1)))
        assert ["not kept" in item.error.message for item in await replayed(store, large)] == [True]

    asyncio.run(conversation())


def test_all_sessions_together_keep_a_bounded_number_of_bytes() -> None:
    async def conversation() -> None:
        recent = RecentEvents()
        small = session(recent, "small")
        begin = await small.store_event("7", None)
        await small.store_event("7", answer(7, "small"))
        stores = [session(recent, f"{number}") for number in range(40)]
        for store in stores:
            await store.store_event("1", answer(1, "x" * (replay._MOST_BYTES - 1000)))
        assert sum(store.bytes for store in stores) <= replay._MOST_BYTES_IN_ALL
        assert await replayed(small, begin) == [answer(7, "small")]  # the fullest give way
        for number in range(40):
            recent.note_ended(f"{number}")
        assert list(recent._stores) == ["small"]

    asyncio.run(conversation())


def test_nothing_is_kept_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    async def conversation() -> None:
        store = session(RecentEvents(), "one")
        begin = await store.store_event("7", None)
        await store.store_event("7", answer(7, "secret"))
        async with asyncio.timeout(60):
            while store.bytes:  # though nobody asks and nothing more is sent
                await asyncio.sleep(0.01)
        assert "secret" not in str(await replayed(store, begin))

    monkeypatch.setattr(replay, "_KEEP_SECONDS", 0.2)
    asyncio.run(conversation())
