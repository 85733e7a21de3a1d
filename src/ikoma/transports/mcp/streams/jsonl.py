"""MCP as lines of JSON on a pair of streams: stdin and stdout, or the socket that `ikoma mcp` passes them on to.

The SDK's own stdio server hands every line through threads and answers nothing to a line that is no message.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import anyio
import orjson
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.server.lowlevel import Server
from mcp.shared.message import SessionMessage
from mcp_types import (
    INVALID_REQUEST,
    PARSE_ERROR,
    JSONRPCError,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    jsonrpc_message_adapter,
)
from pydantic import ValidationError

from ikoma.transports.mcp.opening import MESSAGE_LIMIT

_LAST_ANSWERS_SECONDS = 5.0

Incoming = MemoryObjectSendStream[SessionMessage | Exception]
Outgoing = MemoryObjectReceiveStream[SessionMessage]


class _JsonlStream:
    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, on_refused: Callable[[str], None]
    ) -> None:
        self._on_refused = on_refused
        self._reader = reader
        self._writer = writer
        self._open = 0
        self._answered = asyncio.Event()

    async def read(self, incoming: Incoming) -> None:
        """Hand on each message; at the end of the stream, let what was asked be answered first."""
        async with incoming:
            while True:
                try:
                    line = await self._reader.readline()
                except ValueError:  # the stream has dropped it
                    await self._refuse(INVALID_REQUEST, f"A message has at most {MESSAGE_LIMIT} bytes.")
                    continue
                except ConnectionError:
                    return
                if not line:
                    break
                if line.strip():
                    await self._take(line, incoming)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_ANSWERS_SECONDS):
                    while self._open > 0:
                        self._answered.clear()
                        await self._answered.wait()

    async def write(self, outgoing: Outgoing) -> None:
        async with outgoing:
            async for item in outgoing:
                message = item.message
                await self._send(message.model_dump_json(by_alias=True, exclude_unset=True).encode())
                if isinstance(message, JSONRPCResponse | JSONRPCError):
                    self._open -= 1
                    self._answered.set()

    async def _take(self, line: bytes, incoming: Incoming) -> None:
        try:
            message = jsonrpc_message_adapter.validate_json(line, by_name=False)
        except ValidationError:
            await self._refuse(*_explain_refusal(line))
            return
        if isinstance(message, JSONRPCRequest):
            self._open += 1
        assert isinstance(message, JSONRPCRequest | JSONRPCNotification | JSONRPCResponse | JSONRPCError)
        await incoming.send(SessionMessage(message))

    async def _refuse(self, code: int, message: str) -> None:
        self._on_refused(message)
        await self._send(orjson.dumps({"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": message}}))

    async def _send(self, line: bytes) -> None:
        with contextlib.suppress(ConnectionError):  # whoever does not read any more has gone
            self._writer.write(line + b"\n")
            await self._writer.drain()


async def serve_lines(
    server: Server[object],
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    *,
    on_refused: Callable[[str], None],
) -> None:
    """Serve one client until its stream ends.

    Args:
        on_refused: told why, of each line that is no message.
    """
    lines = _JsonlStream(reader, writer, on_refused)
    to_server, from_client = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    to_client, from_server = anyio.create_memory_object_stream[SessionMessage](0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lines.read, to_server)
        tasks.start_soon(lines.write, from_server)
        await server.run(from_client, to_client, server.create_initialization_options())
        tasks.cancel_scope.cancel()


def _explain_refusal(line: bytes) -> tuple[int, str]:
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return PARSE_ERROR, f"This is not JSON: {error.msg} at column {error.colno}."
    return INVALID_REQUEST, "This is JSON, but no JSON-RPC message."
