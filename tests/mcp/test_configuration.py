"""The client configurations that the documentation shows, started as they stand."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import StdioServerParameters
from mcp.client.client import Client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

from tests.support import IKOMA, Server

ROOT = Path(__file__).parents[2]


def configurations() -> list[Any]:
    found = []
    for page in ("README.md", "docs/mcp.md"):
        for block in re.findall(r"```json\n(.*?)```", (ROOT / page).read_text(), re.DOTALL):
            shown = json.loads(block)
            if servers := shown.get("mcpServers"):
                found.append(pytest.param(servers["ikoma"], id=f"{page}-{len(found)}"))
    return found


def test_both_transports_are_shown() -> None:
    kinds = {"url" in parameter.values[0] for parameter in configurations()}
    assert kinds == {True, False}


@pytest.mark.parametrize("shown", configurations())
def test_what_is_shown_connects(house: Server, shown: dict[str, Any]) -> None:
    async def listed() -> int:
        if "url" in shown:
            url = shown["url"].replace("http://localhost:3000", house.url)
            async with (
                httpx2.AsyncClient(headers=_with_key(shown["headers"], house)) as http,
                Client(streamable_http_client(url, http_client=http)) as client,
            ):
                return len((await client.list_tools()).tools)
        assert shown["command"] == "ikoma"
        environment = {**house.env, **_with_key(shown["env"], house)}
        parameters = StdioServerParameters(command=str(IKOMA), args=shown["args"], env=environment)
        async with Client(stdio_client(parameters)) as client:
            return len((await client.list_tools()).tools)

    assert asyncio.run(listed()) > 15


def _with_key(shown: dict[str, str], house: Server) -> dict[str, str]:
    return {name: house.key if value == "YOUR_KEY" else value for name, value in shown.items()}
