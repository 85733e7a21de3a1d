from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest

from ikoma.apps.reconciliation.backoff import BackoffQueue
from ikoma.errors import AppBusy, BackupMissing, EngineUnavailable


async def many_times(work: Callable[[], Awaitable[None]], name: str = "shop", times: int = 5) -> None:
    async with asyncio.TaskGroup() as tasks:
        queue = BackoffQueue(tasks)
        for _ in range(times):
            queue.begin(name, work)
            await asyncio.sleep(0.001)


def failing(error: Exception, begun: list[int]) -> Callable[[], Awaitable[None]]:
    async def work() -> None:
        begun.append(1)
        raise error

    return work


def test_one_that_lasts_is_begun_once_and_others_do_not_wait_for_it() -> None:
    begun: list[str] = []

    async def work(name: str, event: asyncio.Event) -> None:
        begun.append(name)
        await event.wait()

    async def both() -> None:
        event = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            queue = BackoffQueue(tasks)
            for name in ("slow", "slow", "quick", "slow"):
                queue.begin(name, lambda name=name: work(name, event))
            await asyncio.sleep(0.01)
            assert begun == ["slow", "quick"]
            event.set()

    asyncio.run(both())


@pytest.mark.parametrize("error", [BackupMissing("gone"), RuntimeError("a mistake")])
def test_one_that_fails_is_logged_and_not_begun_again_at_once(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    begun: list[int] = []
    asyncio.run(many_times(failing(error, begun)))
    assert len(begun) == len(caplog.records) == 1
    assert str(error) in caplog.text


def test_where_the_engine_is_away_it_is_tried_at_once_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    begun: list[int] = []
    asyncio.run(many_times(failing(EngineUnavailable("away"), begun)))
    assert len(begun) > 1
    assert len(caplog.records) == 1


def test_one_that_another_works_on_is_tried_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "ikoma")
    begun: list[int] = []
    asyncio.run(many_times(failing(AppBusy("busy"), begun)))
    assert len(begun) > 1
    assert caplog.records == []
