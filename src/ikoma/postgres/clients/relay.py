"""A way to the server that lets only so many bytes come back.

libpq makes room for a whole row as soon as its length is known and then takes all that has come: one value of a
gigabyte would fill this process's memory. Nothing in the server limits that; a relay that hangs up does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Any, Self

_PIECE = 64 << 10
_MOST_TO_CANCEL = 64 << 10
_MOST_CONNECTIONS = 3


class Relay:
    """One connection's way to the server of `parameters`, as an async context manager.

    Args:
        most: bytes that may come back, from the beginning or since `renew`.
    """

    def __init__(self, parameters: Mapping[str, Any], most: int) -> None:
        self._parameters = parameters
        self._most = self._left = most
        self._server: asyncio.Server | None = None
        self._serving: list[asyncio.Task[None]] = []

    @property
    def exhausted(self) -> bool:
        """Whether the server had more to say than may come back."""
        return self._left < 0

    def renew(self) -> None:
        """Let as many bytes come as at the beginning: those before have been taken and thrown away."""
        if not self.exhausted:
            self._left = self._most

    @property
    def parameters(self) -> dict[str, Any]:
        """The connection's parameters by this way. The host stays: certificates are for its name."""
        assert self._server is not None
        return {**self._parameters, "hostaddr": "127.0.0.1", "port": self._server.sockets[0].getsockname()[1]}

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=1)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._serving:
            task.cancel()
        if self._serving:
            await asyncio.wait(self._serving)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._serving) == _MOST_CONNECTIONS:
            writer.close()
            return
        task = asyncio.current_task()
        assert task is not None
        self._serving.append(task)
        # It is for one connection; what comes later can only ask to cancel what that one runs.
        serve = self._serve if task is self._serving[0] else self._serve_cancel
        with suppress(OSError, asyncio.CancelledError):
            await serve(reader, writer)
        writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with self._far(reader) as far:
            while (piece := await far.read(_PIECE)) and not self.exhausted:
                self._left -= len(piece)
                writer.write(piece)
                await writer.drain()

    async def _serve_cancel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = _MOST_TO_CANCEL
        async with self._far(reader) as far:
            while (piece := await far.read(_PIECE)) and (left := left - len(piece)) >= 0:
                writer.write(piece)
                await writer.drain()

    @asynccontextmanager
    async def _far(self, reader: asyncio.StreamReader) -> AsyncIterator[asyncio.StreamReader]:
        """The server's end of a connection, to which all that is read here goes."""
        far, far_writer = await asyncio.open_connection(self._parameters["host"], self._parameters["port"])
        asking = asyncio.ensure_future(_pass_on(reader, far_writer))
        try:
            yield far
        finally:
            asking.cancel()
            far_writer.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(_PIECE):
            writer.write(piece)
            await writer.drain()
        writer.write_eof()
