"""The MCP door of a server. It opens when the first client comes.

Loading the SDK takes as long as half of a start, and memory that a server without MCP clients never needs. What is
known of the door before that stands here, and nothing of it imports the SDK.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
from starlette.types import Receive, Scope, Send

from ikoma.errors import ShuttingDown
from ikoma.kernel.pipeline import Pipeline
from ikoma.kernel.registry import SQL_BODY_LIMIT
from ikoma.transports import headers
from ikoma.transports.server import listen_unix

if TYPE_CHECKING:
    from ikoma.transports.mcp.streams.http import McpEndpoint

log = logging.getLogger("ikoma.mcp")

PATH = "/mcp"
METADATA = "/.well-known/oauth-protected-resource"
MESSAGE_LIMIT = SQL_BODY_LIMIT + (1 << 20)
"""The most bytes of a message, over HTTP and on the socket."""


class McpDoor:
    """The ASGI application under /mcp, and the socket that `ikoma mcp` passes lines on to."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._wanted = asyncio.Event()
        self._opened: asyncio.Future[McpEndpoint] = asyncio.Future()
        self._is_closed = False

    @asynccontextmanager
    async def running(self, socket: Path) -> AsyncIterator[None]:
        """Serve inside the block, at this socket too unless another server of this state has it."""
        holding = asyncio.ensure_future(self._hold_open())
        try:
            async with self._listen_at(socket):
                yield
        finally:
            holding.cancel()
            await asyncio.wait([holding])

    def close(self) -> None:
        """End the streams that only wait for news: what is being done goes on to its end."""
        self._is_closed = True
        if self._opened.done() and not self._opened.exception():
            self._opened.result().close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = await self.open()
        if self._is_closed:
            await headers.refuse(send, ShuttingDown())
        else:
            await endpoint(scope, receive, send)

    async def open(self) -> McpEndpoint:
        """The open door. It is the first who asks that waits for the SDK, and who comes meanwhile."""
        self._wanted.set()
        return await asyncio.shield(self._opened)

    async def _hold_open(self) -> None:
        await self._wanted.wait()
        try:
            endpoint = await asyncio.to_thread(_load, self._pipeline)
        except Exception as error:
            self._opened.set_exception(error)  # for each who asks; the server logs it
            return
        async with endpoint.running():
            self._opened.set_result(endpoint)
            await asyncio.Event().wait()  # until this is cancelled

    @asynccontextmanager
    async def _listen_at(self, path: Path) -> AsyncIterator[None]:
        """Take the connections of `ikoma mcp` inside the block, unless another server of this state does."""
        clients: set[asyncio.Task[None]] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            clients.add(task)
            try:
                await (await self.open()).serve_lines(reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError) as error:
                log.info("a client over stdio has gone: %s", error)
            finally:
                clients.discard(task)
                writer.close()

        unix = listen_unix(path)
        if unix is None:
            yield
            return
        server = await asyncio.start_unix_server(serve, sock=unix, limit=MESSAGE_LIMIT)
        try:
            yield
        finally:
            server.close()
            for client in clients:
                client.cancel()


def make_metadata(scope: Scope, issuer: str | None) -> bytes:
    """The protected resource metadata (RFC 9728): where a client gets a token, where there is such a place."""
    return orjson.dumps(
        {
            "resource": f"{headers.make_base_url(scope)}{PATH}",
            "resource_name": "IKOMA",
            "authorization_servers": [issuer] if issuer else [],
            "scopes_supported": ["ikoma:observer", "ikoma:operator", "ikoma:builder", "ikoma:admin"],
            "bearer_methods_supported": ["header"],
        }
    )


def _load(pipeline: Pipeline) -> McpEndpoint:
    from ikoma.transports.mcp.streams.http import McpEndpoint

    endpoint = McpEndpoint(pipeline)
    gc.freeze()  # as at the start: what was loaded stays, and no collection need look at it
    return endpoint
