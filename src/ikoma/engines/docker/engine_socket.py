"""Asks Docker's API by GET over its unix socket, with little work: every look at an app is made of such questions.

An answer is read whole, be it of a stated length or in chunks. Connections are kept for the next questions. One that
the engine has closed meanwhile is no failure: a new one is made. Whoever stops waiting ends the connection with it, so
nobody is given the answer to another's question.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import quote, urlencode

import aiodocker
import httptools
import orjson

COULD_NOT_CONNECT = 900  # aiodocker's own status
_MOST_KEPT = 4
_FIRST_ANSWER, _FIRST_REFUSAL = 200, 400


class EngineSocket:
    """The socket at a path. Nothing is connected before the first question."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._kept: list[_Connection] = []

    def close(self) -> None:
        while self._kept:
            self._kept.pop().transport.close()

    async def read(self, path: str, params: Mapping[str, str] | None = None) -> Any:
        """Read the JSON of an answer; DockerError where the engine refuses, or cannot be connected to."""
        target = quote(f"/{path}") + (f"?{urlencode(params)}" if params else "")
        try:
            status, body = await self._ask(target)
            if status < _FIRST_REFUSAL:
                return orjson.loads(body)
        except (OSError, orjson.JSONDecodeError) as error:
            raise aiodocker.DockerError(COULD_NOT_CONNECT, str(error)) from error
        try:
            said = str(orjson.loads(body)["message"])
        except (ValueError, LookupError, TypeError):
            said = body.decode(errors="replace")
        raise aiodocker.DockerError(status, said)

    async def _ask(self, target: str) -> tuple[int, bytes]:
        while self._kept:
            connection = self._kept.pop()
            try:
                return await self._ask_on(connection, target)
            except ConnectionError:
                if connection.has_begun:
                    raise
        _, connection = await asyncio.get_running_loop().create_unix_connection(_Connection, self._path)
        return await self._ask_on(connection, target)

    async def _ask_on(self, connection: _Connection, target: str) -> tuple[int, bytes]:
        try:
            answer = await connection.ask(target)
        except BaseException:
            connection.transport.abort()
            raise
        if connection.is_reusable and len(self._kept) < _MOST_KEPT:
            self._kept.append(connection)
        else:
            connection.transport.close()
        return answer


class _Connection(asyncio.Protocol):
    """One connection, for one question at a time; it tells whether its answer has begun, and another may follow."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._body = bytearray()
        self._parser: Any = None
        self.has_begun = self.is_reusable = False

    async def ask(self, target: str) -> tuple[int, bytes]:
        """The status and the body of the answer; ConnectionError where it does not come whole."""
        if self.transport.is_closing():
            raise ConnectionResetError("The engine has closed the connection.")
        self._answer = asyncio.get_running_loop().create_future()
        self._body.clear()
        self._parser = httptools.HttpResponseParser(self)
        self.has_begun = self.is_reusable = False
        self.transport.write(f"GET {target} HTTP/1.1\r\nHost: docker\r\nAccept: application/json\r\n\r\n".encode())
        return await self._answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._answer.done():
            self.transport.abort()  # nothing was asked
            return
        self.has_begun = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail("The engine does not answer as HTTP does.")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if self._answer is not None and not self._answer.done():
            status = self._parser.get_status_code()
            self.is_reusable = status >= _FIRST_ANSWER and self._parser.should_keep_alive()
            self._answer.set_result((status, bytes(self._body)))

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail("The engine has ended the connection.")

    def _fail(self, said: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionResetError(said))
