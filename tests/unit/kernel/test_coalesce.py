from __future__ import annotations

import asyncio

from ikoma.kernel.coalesce import Coalesced


def test_callers_during_a_run_share_the_next_one_and_get_nothing_older_than_their_question() -> None:
    starts: list[float] = []

    async def scenario() -> list[float]:
        loop = asyncio.get_running_loop()

        async def work() -> float:
            starts.append(loop.time())
            await asyncio.sleep(0.02)
            return starts[-1]

        shared = Coalesced(work)
        asked: list[float] = []

        async def ask(delay: float) -> float:
            await asyncio.sleep(delay)
            asked.append(loop.time())
            started = await shared.get()
            assert started >= asked[0]
            return started

        return await asyncio.gather(*(ask(delay) for delay in (0, 0.005, 0.006, 0.007, 0.03)))

    answers = asyncio.run(scenario())
    assert answers[1] == answers[2] == answers[3] != answers[0]
    assert len(starts) == 3


def test_a_caller_who_goes_away_does_not_cancel_the_others() -> None:
    async def scenario() -> str:
        async def work() -> str:
            await asyncio.sleep(0.02)
            return "done"

        shared = Coalesced(work)
        leaver, stayer = asyncio.ensure_future(shared.get()), asyncio.ensure_future(shared.get())
        await asyncio.sleep(0.005)
        leaver.cancel()
        return await stayer

    assert asyncio.run(scenario()) == "done"


def test_a_failure_reaches_all_who_asked_and_the_next_run_starts_anew() -> None:
    async def scenario() -> list[object]:
        outcomes = iter([ValueError("away"), None])

        async def work() -> str:
            outcome = next(outcomes)
            if outcome:
                raise outcome
            return "back"

        shared = Coalesced(work)
        first = await asyncio.gather(shared.get(), return_exceptions=True)
        return [*first, await shared.get()]

    failed, back = asyncio.run(scenario())
    assert isinstance(failed, ValueError)
    assert back == "back"
