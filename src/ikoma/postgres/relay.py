"""A way to the server that lets only so many bytes come back.

libpq makes room for a whole row as soon as its length is known and then takes all that has come: one value of a
gigabyte would fill this process's memory. Nothing in the server limits that; a relay that hangs up does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

_PIECE = 64 << 10


class Relay:
    """One connection's way to the server of `parameters`, as an async context manager."""

    def __init__(self, parameters: Mapping[str, Any], most: int) -> None:
        self._parameters = parameters
        self._left = most
        self._server: asyncio.Server | None = None
        self._serving: asyncio.Task[None] | None = None

    @property
    def exhausted(self) -> bool:
        """Whether the server had more to say than may come back."""
        return self._left < 0

    @property
    def parameters(self) -> dict[str, Any]:
        """The same connection by this way. The host stays: certificates are for its name."""
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
        if self._serving is not None:
            self._serving.cancel()
            await asyncio.wait([self._serving])

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._serving is not None:  # it is for one connection only
            writer.close()
            return
        task = asyncio.current_task()
        assert task is not None
        self._serving = task
        with suppress(OSError, asyncio.CancelledError):
            await self._serve(reader, writer)
        writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = self._parameters["host"], self._parameters["port"]
        far_reader, far_writer = await asyncio.open_connection(host, port)
        asking = asyncio.ensure_future(_pass_on(reader, far_writer))
        try:
            while (piece := await far_reader.read(_PIECE)) and not self.exhausted:
                self._left -= len(piece)
                writer.write(piece)
                await writer.drain()
        finally:
            asking.cancel()
            far_writer.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(_PIECE):
            writer.write(piece)
            await writer.drain()
        writer.write_eof()
