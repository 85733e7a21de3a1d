"""Answers of known length are written at once, head and body together: one system call, and headers checked once.

The head of such an answer waits for the body. Whatever else an application sends goes to uvicorn as it comes: an answer
without a length may be silent for hours after its head.
"""

from __future__ import annotations

import re
from functools import lru_cache
from http import HTTPStatus

from starlette.types import Message
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

_LENGTH = b"content-length"
_OF_THE_CONNECTION = frozenset({b"connection", b"transfer-encoding"})
_NAME = re.compile(rb"[a-z0-9!#$%&'*+.^_`|~-]+")
_NOT_IN_VALUES = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_BODILESS = frozenset({204, 304})


class WholeAnswer:
    """Takes what an application sends in one cycle of a connection."""

    __slots__ = ("_cycle", "_start")

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self._start: Message | None = None

    async def send(self, message: Message) -> None:
        start, self._start = self._start, None
        if start is None and message["type"] == "http.response.start" and _find_length(message) is not None:
            self._start = message
            return
        if start is not None:
            if self._write(start, message):
                return
            await self._cycle.send(start)  # type: ignore[arg-type]
        await self._cycle.send(message)  # type: ignore[arg-type]

    def _write(self, start: Message, message: Message) -> bool:
        """Write head and body; whether that could be done."""
        cycle, status, body = self._cycle, start["status"], message.get("body", b"")
        if (
            message["type"] != "http.response.body"
            or message.get("more_body", False)
            or _find_length(start) != len(body)
            or status in _BODILESS
            or cycle.scope["method"] == "HEAD"
            or not cycle.keep_alive
            or cycle.disconnected
            or cycle.response_started
            or cycle.flow.write_paused
        ):
            return False
        head = _make_head(status, tuple(pair for pair in start["headers"] if pair[0] != _LENGTH))
        if head is None:
            return False
        date = b"".join(b"%b: %b\r\n" % pair for pair in cycle.default_headers)
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        cycle.transport.write(b"%b%bcontent-length: %d\r\n\r\n%b" % (head, date, len(body), body))
        cycle.message_event.set()
        cycle.on_response()
        return True


def _find_length(start: Message) -> int | None:
    return next((int(value) for name, value in start.get("headers", ()) if name == _LENGTH), None)


@lru_cache(maxsize=256)
def _make_head(status: int, headers: tuple[tuple[bytes, bytes], ...]) -> bytes | None:
    """The beginning of an answer; None where uvicorn must look at a header itself."""
    if any(name in _OF_THE_CONNECTION or not _NAME.fullmatch(name) for name, _ in headers):
        return None
    if any(_NOT_IN_VALUES.search(value) for _, value in headers):
        return None
    line = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()
    return line + b"".join(b"%b: %b\r\n" % pair for pair in headers)
