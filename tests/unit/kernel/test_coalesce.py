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
