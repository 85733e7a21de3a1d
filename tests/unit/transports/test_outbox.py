"""Lines for a client that is slow: a bounded number waits, and nothing is out of order."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import orjson

from ikoma.transports import outbox
from ikoma.transports.mcp import progress
from ikoma.transports.mcp.progress import Reporter
from ikoma.transports.mcp.wording.marking import Wrapper
from ikoma.transports.outbox import Outbox


async def taken(box: Outbox) -> list[Any]:
    found = []
    while (line := await box.take_next()) is not None:
        found.append(orjson.loads(line))
    return found


def test_who_says_lines_waits_for_room_and_none_is_lost() -> None:
    async def scenario() -> None:
        box, said = Outbox(), 0

        async def say() -> None:
            nonlocal said
            for number in range(1000):
                await box.emit(f"{number}")
                said += 1
            box.end()

        saying = asyncio.ensure_future(say())
        for _ in range(100):
            await asyncio.sleep(0)
        assert said == outbox._MOST
        assert await taken(box) == [{"line": f"{number}"} for number in range(1000)]
        await saying

    asyncio.run(scenario())


def test_steps_never_wait_and_those_left_out_are_counted() -> None:
    async def scenario() -> None:
        box = Outbox()
        for number in range(1000):
            await asyncio.to_thread(box.put_progress, f"{number}", 0.5) if number % 100 == 0 else box.put_progress(
                f"{number}"
            )
        await asyncio.sleep(0)
        found = [orjson.loads(await box.take_next() or b"") for _ in range(outbox._MOST)]
        assert [item["progress"]["message"] for item in found] == [f"{number}" for number in range(outbox._MOST)]
        box.put_progress("last")
        await asyncio.sleep(0)
        box.end()
        last = {"message": "last", "fraction": None, "leftOut": 1000 - outbox._MOST}
        assert await taken(box) == [{"progress": last}]

    asyncio.run(scenario())


def test_a_slow_client_of_mcp_hears_of_the_last_steps() -> None:
    async def scenario() -> None:
        heard: list[str] = []
        reads = asyncio.Event()

        async def report(done: float, total: float | None, message: str) -> None:
            await reads.wait()
            heard.append(message)

        ctx: Any = SimpleNamespace(meta={"progress_token": 1}, session=SimpleNamespace(report_progress=report))
        async with Reporter(ctx, Wrapper()) as told:
            told("first")
            await asyncio.sleep(0)
            for number in range(1000):
                told(f"{number}")
            reads.set()
        assert heard == ["first", *(f"{number}" for number in range(1000 - progress._MOST, 1000))]
        told("after the answer")
        await asyncio.sleep(0)
        assert heard[-1] == "999"

    asyncio.run(scenario())
