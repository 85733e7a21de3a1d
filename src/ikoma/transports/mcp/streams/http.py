"""/mcp on the HTTP server: who asks is known before the SDK sees a byte.

A request without a valid key is answered 401 with where to learn of authorisation, and never falls back to any other
role. The key is checked again at every request, so one that was revoked ends with the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import lru_cache

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from starlette.types import Message, Receive, Scope, Send

from ikoma.errors import BodyTooLarge, IkomaError, MalformedRequest, TooManyConnections, Unauthenticated
from ikoma.kernel.pipeline import Pipeline
from ikoma.transports import headers
from ikoma.transports.mcp.adapter import SCOPE_KEY, UNDERSTOOD, McpAdapter, find_connection
from ikoma.transports.mcp.calls import Calls, McpConnection
from ikoma.transports.mcp.opening import MESSAGE_LIMIT, METADATA, PATH
from ikoma.transports.mcp.streams.sessions import Sessions
from ikoma.transports.mcp.streams.stdio import serve_child

_IDLE_SECONDS = 1800.0
_MOST_SESSIONS = 1000


class McpEndpoint:
    """The open door: the ASGI application under /mcp, and what serves lines."""

    def __init__(self, pipeline: Pipeline, *, adapter: McpAdapter | None = None) -> None:
        self._pipeline = pipeline
        self.adapter = adapter or McpAdapter(pipeline.registry, Calls(pipeline), find_connection)
        self._manager = Sessions(
            self.adapter.server,
            on_ended=self.adapter.notifier.note_ended,
            retry_interval=1000,
            session_idle_timeout=_IDLE_SECONDS,
            max_sessions=_MOST_SESSIONS,
            max_request_body_size=MESSAGE_LIMIT,
        )
        self._streams: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serves inside the block."""
        async with self.adapter.tell_of_events(self._pipeline.events), self._manager.run():
            yield

    def close(self) -> None:
        """End the streams that only wait for news: what is being done goes on to its end."""
        self.adapter.notifier.close()
        for stream in self._streams:
            stream.cancel()

    async def serve_lines(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a child of a host, which passes lines on from its own streams."""
        await serve_child(self.adapter, self._pipeline, reader, writer)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # RFC 9110 wants the blanks around a value gone; the parser leaves those at its end.
        if any(value.endswith((b" ", b"\t")) for _, value in scope["headers"]):
            scope["headers"] = [(name, value.strip(b" \t")) for name, value in scope["headers"]]
        given = dict(scope["headers"])
        key, role = headers.read_key(given), headers.read_text(given.get(b"x-role"))
        size = headers.read_length(given)
        try:
            caller = await self._pipeline.identify(
                key, role, what="mcp", address=headers.read_address(scope), counts=_begins_a_session(scope, given)
            )
            if size > MESSAGE_LIMIT:
                large = BodyTooLarge(f"The message has {size} bytes; MCP messages have at most {MESSAGE_LIMIT}.")
                self._pipeline.record_refused("mcp", large, caller.name)
                raise large
        except IkomaError as error:
            await headers.refuse(send, error, _make_challenge(scope, error) or None)
            return
        scope["user"] = _make_user(caller.id)
        scope[SCOPE_KEY] = McpConnection(
            key, role, _parse_toolsets(scope), caller=caller, size=size, address=headers.read_address(scope)
        )
        if scope["method"] != "GET":
            try:
                await self._manager.handle_request(scope, receive, _record(self._pipeline, scope, caller.name, send))
            except TooManyConnections as error:
                self._pipeline.record_refused("mcp", error, caller.name)
                await headers.refuse(send, error)
            return
        await self._listen(key, asyncio.ensure_future(self._manager.handle_request(scope, receive, send)), send)

    async def _listen(self, key: str | None, stream: asyncio.Task[None], send: Send) -> None:
        """Hold a stream of news open until its client goes, its key ends or the server stops."""
        self._streams.add(stream)
        try:
            with suppress(Unauthenticated):
                async with self._pipeline.authentication.guard(key):
                    await asyncio.wait([stream])
        finally:
            self._streams.discard(stream)
            stream.cancel()
        await asyncio.wait([stream])
        if stream.cancelled():  # its answer has begun: its end is all there is to tell
            await send({"type": "http.response.body", "body": b""})


def _begins_a_session(scope: Scope, given: headers.Headers) -> bool:
    """Whether this costs something before anything is called, which counts by itself."""
    is_older = headers.read_text(given.get(b"mcp-protocol-version")) not in MODERN_PROTOCOL_VERSIONS
    return scope["method"] == "POST" and is_older and b"mcp-session-id" not in given


def _make_challenge(scope: Scope, error: IkomaError) -> list[tuple[bytes, bytes]]:
    if not isinstance(error, Unauthenticated):
        return []
    where = f"{headers.make_base_url(scope)}{METADATA}{PATH}"
    return [(b"www-authenticate", f'Bearer realm="ikoma", resource_metadata="{where}"'.encode())]


def _record(pipeline: Pipeline, scope: Scope, caller: str, send: Send) -> Send:
    """Passes the answer on; what the SDK refuses as no message of the protocol goes on record."""

    async def passing(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] >= 400 and UNDERSTOOD not in scope:
            error = MalformedRequest(f"The message was refused with status {message['status']}.")
            pipeline.record_refused("mcp", error, caller)
        await send(message)

    return passing


@lru_cache(maxsize=256)
def _make_user(caller: str) -> AuthenticatedUser:
    """By this the SDK sees that a session is used only by the one who began it."""
    return AuthenticatedUser(AccessToken(token="", client_id=caller, scopes=[]))


def _parse_toolsets(scope: Scope) -> tuple[str, ...]:
    """?toolsets=apps,deploy chooses the namespaces whose tools a connection lists."""
    for part in scope["query_string"].decode("latin-1").split("&"):
        name, _, value = part.partition("=")
        if name == "toolsets":
            return tuple(item for item in value.replace("%2C", ",").split(",") if item)
    return ()
