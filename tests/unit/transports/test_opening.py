"""The MCP door opens with its first client; until then a server has loaded nothing of the SDK."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ikoma.model import Role
from ikoma.transports.mcp.opening import McpDoor
from tests.unit.kernel.small_pipeline import House, house

__all__ = ["house"]

LATER = ("mcp", "mcp_types", "cryptography", "jwt", "markdown_it", "pglast")
PROGRAM = """
import sys
import ikoma.platform.composition, ikoma.transports.door, ikoma.transports.server
from ikoma import capabilities
capabilities.load()
print(*sys.modules)
"""


def test_a_server_loads_only_what_every_server_needs() -> None:
    loaded = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout.split()
    assert [name for name in LATER if name in loaded] == []


async def ask(door: McpDoor, key: str) -> int:
    """The status of the answer to a request for the list of tools."""
    sent: list[Any] = []
    body = b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}'

    async def receive() -> Any:
        return {"type": "http.request", "body": body}

    async def send(message: Any) -> None:
        sent.append(message)

    pairs = {"host": "localhost", "x-api-key": key, "content-type": "application/json", "accept": "application/json"}
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/mcp",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in pairs.items()],
    }
    await door(scope, receive, send)
    return int(sent[0]["status"])


def test_all_who_come_at_once_wait_for_one_opening(house: House, tmp_path: Path) -> None:
    async def story() -> None:
        door = McpDoor(house.pipeline)
        async with door.running(tmp_path / "mcp.sock"):
            statuses = await asyncio.gather(*(ask(door, key) for key in ("wrong", house.key(Role.OBSERVER), "")))
            assert statuses[0] == statuses[2] == 401
            assert statuses[1] < 300 or statuses[1] == 406  # that is the SDK's own word
            assert await door.open() is await door.open()
            door.close()
            assert await ask(door, house.key(Role.OBSERVER)) == 503

    asyncio.run(story())


def test_a_door_that_nobody_came_to_closes_unopened(house: House, tmp_path: Path) -> None:
    async def story() -> None:
        door = McpDoor(house.pipeline)
        async with door.running(tmp_path / "mcp.sock"):
            door.close()
        assert not (await asyncio.wait([asyncio.ensure_future(door.open())], timeout=0))[0]

    asyncio.run(story())


def test_why_it_does_not_open_is_raised_to_each_who_asks(house: House, tmp_path: Path) -> None:
    async def story() -> None:
        door = McpDoor(object())  # type: ignore[arg-type]
        async with door.running(tmp_path / "mcp.sock"):
            for _ in range(2):
                with pytest.raises(AttributeError):
                    await door.open()
            door.close()

    asyncio.run(story())
