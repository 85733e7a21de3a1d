from __future__ import annotations

import asyncio

import pytest

from ikoma.capabilities.apps.logs import follow_until
from ikoma.errors import EngineUnavailable


def test_following_ends_when_the_server_stops() -> None:
    async def scenario() -> None:
        stopping, ended = asyncio.Event(), asyncio.Event()

        async def follow() -> None:
            try:
                await asyncio.sleep(60)
            finally:
                ended.set()

        following = asyncio.ensure_future(follow_until(stopping, follow()))
        await asyncio.sleep(0.05)
        assert not following.done()
        stopping.set()
        await asyncio.wait_for(following, 60)
        assert ended.is_set()

    asyncio.run(scenario())


def test_following_ends_with_what_it_follows_and_says_why_it_failed() -> None:
    async def scenario() -> None:
        await asyncio.wait_for(follow_until(asyncio.Event(), asyncio.sleep(0)), 60)

        async def fail() -> None:
            raise EngineUnavailable

        with pytest.raises(EngineUnavailable):
            await asyncio.wait_for(follow_until(asyncio.Event(), fail()), 60)

    asyncio.run(scenario())
