"""MCP over stdin and stdout: for a host that starts `ikoma mcp` as its child.

On stdout there is the protocol and nothing else. There is one caller, known from the start.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
from mcp.server.stdio import stdio_server

from ikoma.kernel.events import Changed
from ikoma.kernel.registry import Registry
from ikoma.transports.mcp.adapter import Adapter
from ikoma.transports.mcp.calls import Calls, Connection


async def serve_stdio(registry: Registry, calls: Calls, who: Connection, changes: AsyncIterator[Changed]) -> None:
    """Serve the host until it closes our stdin."""
    adapter = Adapter(registry, calls, lambda ctx: who)
    async with anyio.create_task_group() as tasks, stdio_server() as (reading, writing):
        tasks.start_soon(adapter.notifier.pump, changes)
        await adapter.server.run(reading, writing, adapter.server.create_initialization_options())
        tasks.cancel_scope.cancel()
