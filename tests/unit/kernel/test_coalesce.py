from __future__ import annotations

import asyncio
import socket

import uvloop

from ikoma.kernel.coalesce import Coalesced, Turn


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


def test_two_groups_that_would_take_turns_become_one_that_shares_each_run() -> None:
    async def scenario() -> list[int]:
        runs = 0
        sharers: dict[int, int] = {}
        enough, begun = asyncio.Event(), asyncio.Event()

        async def work() -> int:
            nonlocal runs
            number, runs = runs, runs + 1
            if number == 0:
                await begun.wait()
            if number == 9:
                enough.set()
            return number

        shared = Coalesced(work, gather=600)

        async def keep_asking() -> None:
            while True:
                number = await shared.get()
                sharers[number] = sharers.get(number, 0) + 1

        clients = [asyncio.ensure_future(keep_asking()) for _ in range(8)]
        await asyncio.sleep(0)
        while runs == 0:
            await asyncio.sleep(0)
        clients += [asyncio.ensure_future(keep_asking()) for _ in range(8)]  # too late for the first run
        await asyncio.sleep(0)
        begun.set()
        await asyncio.wait_for(enough.wait(), 60)
        for client in clients:
            client.cancel()
        return [sharers[number] for number in range(9)]

    assert asyncio.run(scenario()) == [8] + [16] * 8


def test_who_asks_alone_waits_for_nobody() -> None:
    async def scenario() -> list[str]:
        async def work() -> str:
            return "seen"

        shared = Coalesced(work, gather=600)
        return [await asyncio.wait_for(shared.get(), 60) for _ in range(3)]

    assert asyncio.run(scenario()) == ["seen"] * 3


def test_company_that_does_not_come_back_is_waited_for_once_and_not_for_ever() -> None:
    async def scenario() -> int:
        runs = 0

        async def work() -> int:
            nonlocal runs
            runs += 1
            return runs

        shared = Coalesced(work, gather=0.01)
        await asyncio.gather(shared.get(), shared.get())
        await asyncio.wait_for(shared.get(), 60)
        shared._gather = 600
        return await asyncio.wait_for(shared.get(), 60)

    assert asyncio.run(scenario()) == 3


def test_what_is_made_of_the_same_object_is_made_once_in_a_turn_and_anew_in_the_next() -> None:
    made: list[str] = []

    async def scenario() -> None:
        turn, seen, equal = Turn(), ["seen"], ["seen"]

        async def ask(of: list[str], reader: str) -> int:
            return turn.share("answer", of, (reader,), lambda: made.append(reader) or len(made))

        same = await asyncio.gather(ask(seen, "a"), ask(seen, "a"), ask(seen, "b"), ask(equal, "a"))
        assert same == [1, 1, 2, 3]
        assert await ask(seen, "a") == 4

    asyncio.run(scenario())
    assert made == ["a", "b", "a", "a"]


def test_nothing_of_a_loop_that_ended_in_the_same_turn_is_shared_with_the_next_one() -> None:
    turn, made = Turn(), list[int]()

    async def ask() -> int:
        return turn.share("answer", turn, (), lambda: made.append(0) or len(made))

    assert (asyncio.run(ask()), asyncio.run(ask())) == (1, 2)
    assert turn.share("answer", turn, (), lambda: 3) == 3, "without a loop there are no turns"


def test_what_came_after_something_was_shared_is_answered_in_a_later_turn() -> None:
    """A socket that has been written to after the value was made wakes a task that gets another one."""

    async def scenario() -> None:
        turn, numbers = Turn(), iter(range(100))
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours)

        def share() -> int:
            return turn.share("answer", turn, (), lambda: next(numbers))

        for _ in range(20):
            before = share()
            theirs.send(b"x")
            await reader.readexactly(1)
            assert share() > before
        writer.close()
        theirs.close()

    asyncio.run(scenario())
    uvloop.run(scenario())
