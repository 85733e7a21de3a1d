"""Lets a client that cannot send a key (the conformance suite) reach a server that wants one. For tests only.

`with_key(app, key)` wraps an ASGI app of this process; `keyed_proxy(url, key)` stands before a server that runs
elsewhere. Both only add the header: who asks without one is still refused by the server itself. The client's own Host
and Origin go through untouched, so that the server's check of them is what gets tested.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
from aiohttp import web

HEADER = "X-Api-Key"
NOT_FORWARDED = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length"})


def with_key(app: Any, key: str) -> Any:
    """`app`, every HTTP request to which carries `key`."""
    added = (HEADER.lower().encode(), key.encode())

    async def keyed(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            scope = {**scope, "headers": [*scope["headers"], added]}
        await app(scope, receive, send)

    return keyed


@contextmanager
def keyed_proxy(upstream: str, key: str) -> Iterator[str]:
    """The address of a proxy to `upstream` (scheme, host and port) that adds `key`, streams included, until the end."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def run(coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(30)

    proxy = _Proxy(upstream, key)
    try:
        yield run(proxy.start())
    finally:
        run(proxy.stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


class _Proxy:
    def __init__(self, upstream: str, key: str) -> None:
        self._upstream, self._key = upstream, key

    async def start(self) -> str:
        self._session = aiohttp.ClientSession(auto_decompress=False, timeout=aiohttp.ClientTimeout(total=None))
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._forward)
        self._runner = web.AppRunner(app, shutdown_timeout=1, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}"

    async def stop(self) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in NOT_FORWARDED]
        async with self._session.request(
            request.method,
            self._upstream + request.path_qs,
            headers=[*headers, (HEADER, self._key)],
            data=await request.read() or None,
            allow_redirects=False,
        ) as answer:
            response = web.StreamResponse(status=answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in NOT_FORWARDED:
                    response.headers.add(name, value)
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response
