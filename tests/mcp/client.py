"""The official Python client, over both transports and in both eras of the protocol, for tests that are not async."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx2
import pytest
from mcp import StdioServerParameters
from mcp.client.client import Client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, TextContent

from tests.support import IKOMA, Server, fetch

T = TypeVar("T")

MODERN, LEGACY = "2026-07-28", "legacy"


@asynccontextmanager
async def over_http(
    server: Server, *, key: str | None = None, role: str | None = None, query: str = "", mode: str = "auto", **more: Any
) -> AsyncIterator[Client]:
    headers = {"X-Api-Key": key or server.key, **({"X-Role": role} if role else {})}
    async with httpx2.AsyncClient(headers=headers, timeout=120) as http:
        transport = streamable_http_client(f"{server.url}/mcp{query}", http_client=http)
        async with Client(transport, mode=mode, cache=None, **more) as client:
            yield client


@asynccontextmanager
async def over_stdio(
    server: Server, *arguments: str, role: str | None = "admin", key: str = "", mode: str = "auto", **more: Any
) -> AsyncIterator[Client]:
    chosen = {"IKOMA_ROLE": role} if role else {}
    environment = {**server.env, **chosen, **({"IKOMA_API_KEY": key} if key else {})}
    parameters = StdioServerParameters(command=str(IKOMA), args=["mcp", *arguments], env=environment)
    with (server.folder / "stdio.log").open("ab") as log:
        async with Client(stdio_client(parameters, errlog=log), mode=mode, cache=None, **more) as client:
            yield client


def talk(opened: Any, conversation: Callable[[Client], Awaitable[T]]) -> T:
    """Run a conversation with a client that is opened for it."""

    async def run() -> T:
        async with opened as client:
            return await conversation(client)

    return asyncio.run(run())


def text_of(result: CallToolResult) -> str:
    """The text of a result."""
    assert isinstance(result.content[0], TextContent)
    return result.content[0].text


def said(result: CallToolResult) -> Any:
    """Return the text of a failure."""
    return json.loads(text_of(result))


async def do(client: Client, tool: str, **arguments: Any) -> Any:
    """Call a tool that must succeed; its fields, or its text where that is all."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, said(result)
    return text_of(result) if result.structured_content is None else result.structured_content


async def refused(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """Call a tool that must fail; what it says."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error, result.structured_content
    answer: dict[str, Any] = said(result)
    return answer


def post(house: Server, body: bytes, **headers: str) -> Any:
    """Send one message; the answer, however it came."""
    given = {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": MODERN,
        "X-Api-Key": house.key,
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    request = urllib.request.Request(f"{house.url}/mcp", body, {name: value for name, value in given.items() if value})
    answer = fetch(request)
    if answer.headers.get("content-type", "").startswith(
        "text/event-stream"
    ):  # what takes long is answered in a stream
        events = [line.removeprefix("data: ") for line in answer.body["text"].split("\n") if line.startswith("data: ")]
        answer.body = json.loads(events[-1])
    return answer


EVERYWHERE = pytest.mark.parametrize(
    "opened",
    [
        pytest.param(lambda house, **more: over_http(house, mode=MODERN, **more), id="http-2026"),
        pytest.param(lambda house, **more: over_http(house, mode=LEGACY, **more), id="http-2025"),
        pytest.param(lambda house, **more: over_stdio(house, mode=MODERN, **more), id="stdio-2026"),
        pytest.param(lambda house, **more: over_stdio(house, mode=LEGACY, **more), id="stdio-2025"),
    ],
)
Opened = Callable[..., Any]
