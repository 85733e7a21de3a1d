"""MCP for hosts that start `ikoma mcp` as their child.

Beside a running server that child only passes lines on, over a socket of the server's own user, so there is one
adapter and one record whichever door is used. Alone, it is the platform itself for as long as its host wants.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Callable

import orjson

from ikoma.errors import IkomaError, MalformedRequest
from ikoma.kernel.pipeline import Pipeline
from ikoma.transports import envelope
from ikoma.transports.mcp.adapter import McpAdapter, serve_stream
from ikoma.transports.mcp.calls import McpConnection
from ikoma.transports.mcp.opening import MESSAGE_LIMIT
from ikoma.transports.mcp.streams.jsonl import serve_lines


async def serve_standard_streams(adapter: McpAdapter, pipeline: Pipeline, who: McpConnection) -> None:
    """Serve the host on this process's own stdin and stdout until it closes them."""
    loop = asyncio.get_running_loop()
    # Whatever prints by mistake goes to stderr: on stdout there is the protocol and nothing else.
    wire = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    reader = asyncio.StreamReader(limit=MESSAGE_LIMIT)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(0), "rb", buffering=0))
    transport, protocol = await loop.connect_write_pipe(lambda: asyncio.streams.FlowControlMixin(loop), wire)
    writer = asyncio.StreamWriter(transport, protocol, None, loop)
    with serve_stream(who):
        await serve_lines(adapter.server, reader, writer, on_refused=_make_recorder(pipeline, None))


async def serve_child(
    adapter: McpAdapter, pipeline: Pipeline, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Serve the host of an `ikoma mcp` that has connected; its first line says who it is."""
    request_id = secrets.token_hex(12)
    try:
        hello = orjson.loads(await reader.readline())
        who = McpConnection(hello["key"], hello["role"], tuple(hello["toolsets"]), session=request_id)
        caller = await pipeline.identify(who.key, who.role, what="mcp")
    except IkomaError as error:
        writer.write(envelope.make_failure(request_id, error) + b"\n")
        return
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return
    writer.write(b"{}\n")
    with serve_stream(who):
        await serve_lines(adapter.server, reader, writer, on_refused=_make_recorder(pipeline, caller.name))


def _make_recorder(pipeline: Pipeline, caller: str | None) -> Callable[[str], None]:
    return lambda why: pipeline.record_refused("mcp", MalformedRequest(why), caller)
