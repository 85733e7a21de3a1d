from __future__ import annotations

import asyncio

from ikoma.kernel.coalesce import Coalesced


def test_callers_during_a_run_share_the_next_one_and_get_nothing_older_than_their_question() -> None:
    async def scenario() -> list[int]:
        runs, gates = 0, [asyncio.Event() for _ in range(3)]
        started = [asyncio.Event() for _ in range(3)]

        async def work() -> int:
            nonlocal runs
            number, runs = runs, runs + 1
            started[number].set()
            await gates[number].wait()
            return number

        shared = Coalesced(work)
        answers = [asyncio.ensure_future(shared.get())]
        await started[0].wait()
        answers += [asyncio.ensure_future(shared.get()) for _ in range(3)]  # during the first run
        await asyncio.sleep(0)
        gates[0].set()
        await started[1].wait()
        answers.append(asyncio.ensure_future(shared.get()))  # during the second one
        await asyncio.sleep(0)
        for gate in gates:
            gate.set()
        return await asyncio.gather(*answers)

    assert asyncio.run(scenario()) == [0, 1, 1, 1, 2]


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
