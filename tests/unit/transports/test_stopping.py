"""A server that is asked to stop: until the calls under way have ended it answers, and then it is gone."""

from __future__ import annotations

import asyncio
import socket

import pytest
from starlette.types import Send

from ikoma.errors import ShuttingDown
from ikoma.transports import headers
from ikoma.transports.server import StopRequest, serve


def test_while_calls_under_way_end_it_answers_that_it_stops() -> None:
    async def scenario() -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        stop, ready, ended, drains = StopRequest(), asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def app(scope: object, receive: object, send: Send) -> None:
            await headers.refuse(send, ShuttingDown())

        async def drain() -> None:
            drains.set()
            await ended.wait()

        async def ask() -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.0\r\n\r\n")
            answer = await reader.read()
            writer.close()
            return answer

        running = asyncio.ensure_future(
            serve(app, [listening], on_ready=ready.set, stop=stop, on_stop=lambda: None, drain=drain)
        )
        await asyncio.wait_for(ready.wait(), 60)
        stop.asked.set()
        await asyncio.wait_for(drains.wait(), 60)
        answer = await ask()
        assert b" 503 " in answer
        assert b"retry-after: 5\r\n" in answer.lower()
        assert not running.done()
        ended.set()
        await asyncio.wait_for(running, 60)
        with pytest.raises(ConnectionRefusedError):
            await ask()

    asyncio.run(scenario())
