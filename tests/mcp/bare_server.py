"""The official SDK's bare low-level server with the suite's fixtures: proof of the fixtures, yardstick of our adapter.

    python -m tests.mcp.bare_server --http PORT | --stdio [--without-fixtures] [--answer JSON]

Without fixtures only `platform_info` is left, a tool that returns a constant: what the SDK itself costs, and nothing
else. It has no authentication, and listens on 127.0.0.1 alone.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import secrets
import warnings
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

import mcp_types as types
import uvicorn
from mcp.server.caching import CACHEABLE_METHODS, CacheHint
from mcp.server.lowlevel import Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp, StreamableHTTPSessionManager
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.mcp.fixture import Context, Fixture, Outcome
from tests.mcp.fixtures import TOOLS, FixturePrompts, FixtureResources, Tasks, change_tools

LOCAL_ONLY = TransportSecuritySettings(
    allowed_hosts=["127.0.0.1:*", "localhost:*", "[::1]:*"],
    allowed_origins=["http://127.0.0.1:*", "http://localhost:*", "http://[::1]:*"],
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.mcp.bare_server", description=__doc__)
    transport = parser.add_mutually_exclusive_group(required=True)
    transport.add_argument("--http", type=int, metavar="PORT")
    transport.add_argument("--stdio", action="store_true")
    parser.add_argument("--without-fixtures", action="store_true")
    parser.add_argument("--answer", metavar="JSON", type=json.loads, default={}, help="more of what platform_info says")
    arguments = parser.parse_args()
    ANSWER.update(arguments.answer)
    warnings.simplefilter("ignore", MCPDeprecationWarning)  # logging, sampling and roots are here to be tested
    make = server_without_fixtures if arguments.without_fixtures else server_with_fixtures
    if arguments.stdio:
        asyncio.run(_serve_stdio(make()[0]))
    else:
        app = http_app(*make(), resumable=not arguments.without_fixtures)
        uvicorn.run(app, host="127.0.0.1", port=arguments.http, log_level="warning", timeout_graceful_shutdown=2)


# --- servers ---


ANSWER = {"name": "bare", "version": "0"}
"""Answer of platform_info; the benchmark has it return what ours does, so that both write the same bytes."""


async def platform_info(ctx: Context, params: types.CallToolRequestParams) -> Outcome:
    content = types.TextContent(text=json.dumps(ANSWER, separators=(",", ":")))
    return types.CallToolResult(content=[content], structured_content=ANSWER)


PLATFORM_INFO = Fixture("platform_info", "Tells name and version.", platform_info)


def server_without_fixtures() -> tuple[Server[Any], ListenHandler]:
    listen = ListenHandler(InMemorySubscriptionBus())
    return _server({PLATFORM_INFO.name: PLATFORM_INFO}, on_subscriptions_listen=listen), listen


def server_with_fixtures() -> tuple[Server[Any], ListenHandler]:
    bus, tasks = InMemorySubscriptionBus(), Tasks()
    listen, resources, prompts = ListenHandler(bus), FixtureResources(), FixturePrompts()
    tools = {**TOOLS, **change_tools(bus), **tasks.tools, PLATFORM_INFO.name: PLATFORM_INFO}
    server = _server(
        tools,
        on_list_resources=resources.list,
        on_list_resource_templates=resources.templates,
        on_read_resource=resources.read,
        on_subscribe_resource=resources.subscribe,
        on_unsubscribe_resource=resources.unsubscribe,
        on_list_prompts=prompts.list,
        on_get_prompt=prompts.get,
        on_completion=prompts.complete,
        on_set_logging_level=_set_logging_level,
        on_subscriptions_listen=listen,
    )
    tasks.attach(server)
    security = RequestStateSecurity(keys=[secrets.token_bytes(32)])
    server.middleware.append(RequestStateBoundary(security, default_audience=server.name))
    return server, listen


def _server(tools: dict[str, Fixture], **handlers: Any) -> Server[Any]:
    listed = types.ListToolsResult(tools=[fixture.listed() for fixture in tools.values()])

    async def list_tools(ctx: Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return listed

    async def call_tool(ctx: Context, params: types.CallToolRequestParams) -> Any:
        if (fixture := tools.get(params.name)) is None:
            raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {params.name}")
        return await fixture.run(ctx, params)

    return Server(
        "bare",
        version="0",
        cache_hints={method: CacheHint(ttl_ms=0, scope="private") for method in CACHEABLE_METHODS},
        get_tool_input_schema=lambda name: tools[name].input_schema if name in tools else None,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        **handlers,
    )


async def _set_logging_level(ctx: Context, params: types.SetLevelRequestParams) -> types.EmptyResult:
    return types.EmptyResult()


# --- transports ---


def http_app(server: Server[Any], listen: ListenHandler, *, resumable: bool) -> Starlette:
    """Streamable HTTP at /mcp. `resumable`: streams of 2025-11-25 can be taken up again where they broke."""
    manager = StreamableHTTPSessionManager(
        server,
        event_store=RecentEvents() if resumable else None,
        retry_interval=100 if resumable else None,
        security_settings=LOCAL_ONLY,
    )

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with manager.run():
            yield
            listen.close()

    return Starlette(routes=[Route("/mcp", TrimmedHeaders(StreamableHTTPASGIApp(manager)))], lifespan=lifespan)


class TrimmedHeaders:
    """Takes the blanks off the ends of header values, as RFC 9110 5.5 wants: httptools leaves those at the end, and the
    SDK then finds that `Mcp-Name` differs from the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, "headers": [(name, value.strip(b" \t")) for name, value in scope["headers"]]}
        await self._app(scope, receive, send)


class RecentEvents(EventStore):
    """The last few hundred events of all streams, in the order they were sent; enough to take up a broken stream."""

    def __init__(self) -> None:
        self._events: deque[tuple[str, str, types.JSONRPCMessage | None]] = deque(maxlen=500)
        self._count = 0

    async def store_event(self, stream_id: str, message: types.JSONRPCMessage | None) -> str:
        self._count += 1
        self._events.append((str(self._count), stream_id, message))
        return str(self._count)

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        stream = next((stream for event, stream, _ in self._events if event == last_event_id), None)
        for event, of_stream, message in list(self._events):
            if of_stream == stream and int(event) > int(last_event_id) and message is not None:
                await send_callback(EventMessage(message, event))
        return stream


async def _serve_stdio(server: Server[Any]) -> None:
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


if __name__ == "__main__":
    main()
