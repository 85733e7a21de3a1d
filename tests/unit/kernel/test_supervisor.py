"""Background work that fails is seen, and is started again."""

from __future__ import annotations

import asyncio
import logging

import pytest

from ikoma.kernel.supervisor import Supervisor


class Failing(Exception):
    pass


def test_work_that_fails_is_logged_told_and_started_again(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        runs, succeeded = 0, asyncio.Event()

        async def work() -> None:
            nonlocal runs
            runs += 1
            if runs < 3:
                raise Failing(f"run {runs}")
            succeeded.set()

        async with Supervisor(pause=0.01) as supervisor:
            supervisor.start("anchors", work)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert supervisor.failing == {"anchors": "Failing"}
            await asyncio.wait_for(succeeded.wait(), 60)
            await asyncio.sleep(0)
            assert supervisor.failing == {}
        assert runs == 3
        failures = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert [record.message.split(" failed")[0] for record in failures] == ["anchors", "anchors"]
        assert all(record.exc_info for record in failures)

    asyncio.run(scenario())


def test_endless_work_that_runs_again_is_well_when_it_has_run_as_long_as_it_waited() -> None:
    async def scenario() -> None:
        runs, again = 0, asyncio.Event()

        async def work() -> None:
            nonlocal runs
            runs += 1
            if runs == 1:
                raise Failing
            again.set()
            await asyncio.Event().wait()

        async with Supervisor(pause=0.01) as supervisor:
            supervisor.start("proxy", work)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert supervisor.failing == {"proxy": "Failing"}
            await asyncio.wait_for(again.wait(), 60)
            async with asyncio.timeout(60):
                while supervisor.failing:
                    await asyncio.sleep(0.005)

    asyncio.run(scenario())


def test_other_work_goes_on_meanwhile() -> None:
    async def scenario() -> None:
        steps = asyncio.Queue[int]()

        async def fail() -> None:
            raise Failing

        async def count() -> None:
            for number in range(3):
                await steps.put(number)
                await asyncio.sleep(0)

        async with Supervisor(pause=0.01) as supervisor:
            supervisor.start("failing", fail)
            supervisor.start("counting", count)
            assert [await asyncio.wait_for(steps.get(), 60) for _ in range(3)] == [0, 1, 2]
            assert set(supervisor.failing) == {"failing"}

    asyncio.run(scenario())


def test_the_blocks_end_ends_all_work_and_waits_for_it() -> None:
    async def scenario() -> None:
        started, ended = asyncio.Event(), []

        async def work() -> None:
            try:
                started.set()
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0.01)
                ended.append("work")

        async with Supervisor() as supervisor:
            supervisor.start("work", work)
            await started.wait()
        assert ended == ["work"]

    asyncio.run(scenario())


def test_a_name_is_given_once() -> None:
    async def scenario() -> None:
        async with Supervisor() as supervisor:
            supervisor.start("once", asyncio.Event().wait)  # type: ignore[arg-type]
            with pytest.raises(ValueError, match="once"):
                supervisor.start("once", asyncio.Event().wait)  # type: ignore[arg-type]

    asyncio.run(scenario())
