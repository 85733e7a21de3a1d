"""One GET over a connection of its own, with little work: every look at an app whose requests are answered makes one.

What is not answered as plain HTTP is an error here and no more: `Probe` asks again, and finds out what is in the way.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any, cast

import httptools
from aiohttp.http import SERVER_SOFTWARE

_PLAIN = re.compile(r"/(?:[A-Za-z0-9_~-][A-Za-z0-9_.~-]*/?)*+(?:\?[A-Za-z0-9_.~=&-]*)?")
_HTTP_PORT = 80
_FIRST_FINAL = 200


class NoPlainAnswer(Exception):
    """The answer did not come, or is not HTTP."""


def is_plain(path: str) -> bool:
    """Whether a path can be sent as it is written."""
    return _PLAIN.fullmatch(path) is not None


async def get(host: str, port: int, path: str, *, most: Callable[[int], int]) -> tuple[int, bytes]:
    """The status and the beginning of the body of an answer; its caller limits the time.

    Args:
        path: a plain one.
        most: how many bytes of the body are wanted of an answer with this status.

    Raises:
        NoPlainAnswer, OSError
    """
    named = host if port == _HTTP_PORT else f"{host}:{port}"
    asked = f"GET {path} HTTP/1.1\r\nHost: {named}\r\nAccept: */*\r\nUser-Agent: {SERVER_SOFTWARE}\r\n\r\n"
    loop = asyncio.get_running_loop()
    transport, exchange = await loop.create_connection(lambda: _Exchange(asked.encode(), most), host, port)
    try:
        return await exchange.answer
    finally:
        transport.close()


class _Exchange(asyncio.Protocol):
    """One question and its answer."""

    def __init__(self, asked: bytes, most: Callable[[int], int]) -> None:
        self._asked = asked
        self._most = most
        self._wanted = 0
        self._body = bytearray()
        self._parser: Any = httptools.HttpResponseParser(self)
        self.answer: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.WriteTransport, transport).write(self._asked)

    def data_received(self, data: bytes) -> None:
        if self.answer.done():
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(error)

    def on_headers_complete(self) -> None:
        if (status := self._parser.get_status_code()) < _FIRST_FINAL:
            return
        self._wanted = self._most(status)
        if not self._wanted:
            self._finish()

    def on_body(self, body: bytes) -> None:
        self._body += body
        if len(self._body) >= self._wanted:
            self._finish()

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() >= _FIRST_FINAL:
            self._finish()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._wanted:  # what came before is what there is
            self._finish()
        self._fail(exc)

    def _finish(self) -> None:
        if not self.answer.done():
            self.answer.set_result((self._parser.get_status_code(), bytes(self._body[: self._wanted])))

    def _fail(self, error: Exception | None) -> None:
        if not self.answer.done():
            failed = NoPlainAnswer("no answer came")
            failed.__cause__ = error
            self.answer.set_exception(failed)
