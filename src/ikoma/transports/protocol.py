"""HTTP/1.1 connections with bounds: what a client sends has a size and an end, and nobody can hold the server up.

uvicorn reads a head of any size for as long as it takes. Here a head and a body must arrive in time, an answer must be
read, and connections are limited. An answer under way is never bounded in time: streams may be silent for hours.
One task looks at all connections now and then, so that a request costs no timer.
"""

from __future__ import annotations

import asyncio
import enum
import logging
import secrets
import socket
from collections.abc import Collection
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, ClassVar, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from ikoma.errors import (
    HeadersTooLarge,
    IkomaError,
    MalformedRequest,
    RequestTooSlow,
    TooManyConnections,
    UrlTooLong,
)
from ikoma.transports import envelope
from ikoma.transports.hardening import add_headers
from ikoma.transports.whole_answer import WholeAnswer

log = logging.getLogger("ikoma")

_SPARE = 128  # connections beyond the limit that are still told so


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """The limits of a connection; times are seconds."""

    url_bytes: int = 8 << 10
    header_bytes: int = 32 << 10
    header_count: int = 100
    connections: int = 512
    """On TCP. Those on the unix socket, which is the owner's alone, are not counted out."""
    header_seconds: float = 10
    body_seconds: float = 30
    """Without a byte."""
    idle_seconds: float = 75
    write_seconds: float = 30
    """Without the client reading."""
    linger_seconds: float = 2
    """Time for which all that a client sends after its refusal is thrown away, so that it gets to read it."""
    slowest: int = 512
    """Bytes in a second, on the average, in either direction."""

    @property
    def pause(self) -> float:
        """Between two looks at the connections."""
        return min(self.header_seconds, self.body_seconds, self.write_seconds, self.linger_seconds) / 4


class _AwaitedPart(enum.Enum):
    """The part that the client is to send next."""

    REQUEST = enum.auto()
    HEAD = enum.auto()
    BODY = enum.auto()
    NOTHING = enum.auto()
    """Refused: what the client sends is thrown away."""


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol within limits."""

    limits: ClassVar[ConnectionLimits] = ConnectionLimits()

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._awaited = _AwaitedPart.REQUEST
        self._since = self._heard = self.loop.time()
        self._head_bytes = 0  # of the head that is being read: as many or more
        self._body_bytes = 0
        self._fruitless_bytes = 0  # of a body, since the last that carried something
        self._has_ended = False  # a message, in the piece that is being read
        self._is_local = False
        self._refusal: IkomaError | None = None
        self._unsent: tuple[int, float] | None = None  # how much, and when

    # --- what the transport tells ---

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        listener = transport.get_extra_info("socket")
        self._is_local = listener is not None and listener.family == socket.AF_UNIX
        if len(self.connections) > self.limits.connections and not self._is_local:
            self._make_room()

    def data_received(self, data: bytes) -> None:
        if self._awaited is _AwaitedPart.NOTHING:
            return
        self._heard = self.loop.time()
        if self._awaited is _AwaitedPart.REQUEST:
            self._await(_AwaitedPart.HEAD)  # also for line feeds before a request, which the parser passes over
        self._head_bytes += len(data)
        self._fruitless_bytes += len(data)
        self._has_ended = False
        super().data_received(data)
        if self._awaited is _AwaitedPart.HEAD:
            if self._has_ended:  # how much of this piece belongs to the next head is not known
                self._head_bytes = 0
            if self._head_bytes > self.limits.header_bytes:
                self._refuse(HeadersTooLarge())
        else:
            self._head_bytes = 0
        if self._awaited is _AwaitedPart.BODY and self._fruitless_bytes > self.limits.header_bytes:
            self._refuse(HeadersTooLarge("What follows the body, or stands between its chunks, is too long."))

    def resume_writing(self) -> None:
        self._unsent = None
        super().resume_writing()

    # --- what the parser tells ---

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._awaited is _AwaitedPart.REQUEST:  # in the same piece as the end of the one before
            self._await(_AwaitedPart.HEAD)

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > self.limits.url_bytes:
            self._fail(UrlTooLong(f"An address has at most {self.limits.url_bytes} bytes."))

    def on_headers_complete(self) -> None:
        size = self._head_bytes
        if size > self.limits.header_bytes:
            size = sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self.limits.header_bytes or len(self.headers) > self.limits.header_count:
            self._fail(HeadersTooLarge())
        super().on_headers_complete()
        self.headers = []  # a chunked body may end with more of them: those are not of the request
        self._await(_AwaitedPart.BODY)
        self._body_bytes = self._fruitless_bytes = 0

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        self._fruitless_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._await(_AwaitedPart.REQUEST)
        self._has_ended = True

    def on_response_complete(self) -> None:
        self._since = self.loop.time()
        super().on_response_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        answer = WholeAnswer(cycle)
        super()._start_asgi_task(cycle, lambda scope, receive, _: app(scope, receive, answer.send))

    def send_400_response(self, msg: str) -> None:
        """uvicorn calls this where the parser failed, which it also does when one of the methods above raises."""
        self._refuse(self._refusal or MalformedRequest("This is not HTTP."))

    # --- what time tells ---

    def check_progress(self, now: float) -> None:
        """End the connection, or refuse its request, when its client has taken too long."""
        if self._is_stalled(now):
            self.transport.abort()
        elif self.transport.is_closing():
            return
        elif self._awaited is _AwaitedPart.NOTHING:
            if now - self._since > self.limits.linger_seconds:
                self.transport.close()
        elif self._awaited is _AwaitedPart.BODY:
            self._check_body(now)
        elif not self._is_answering():
            self._check_silence(now)

    def _check_body(self, now: float) -> None:
        limits = self.limits
        if not self._is_answering():  # the answer did not need it
            if now - self._since > limits.body_seconds:
                self.transport.close()
        elif self.flow.read_paused or self.cycle.waiting_for_100_continue:  # it is our turn, not the client's
            self._since, self._heard, self._body_bytes = now, now, 0
        elif (
            now - self._heard > limits.body_seconds
            or now - self._since > limits.body_seconds + self._body_bytes / limits.slowest
        ):
            self._refuse(RequestTooSlow("The body did not arrive in time."))

    def _check_silence(self, now: float) -> None:
        silent = now - self._since
        if self._awaited is _AwaitedPart.HEAD:
            if silent > self.limits.header_seconds:
                self._refuse(RequestTooSlow("The headers did not arrive in time."))
        elif silent > (self.limits.idle_seconds if self.cycle else self.limits.header_seconds):
            self.transport.close()

    def _is_stalled(self, now: float) -> bool:
        """Whether what was answered is not read. While the application may still add to it, that cannot be told."""
        size = self.transport.get_write_buffer_size()
        if not size or (self._is_answering() and not self.flow.write_paused):
            self._unsent = None
            return False
        if self._unsent is None or self._unsent[0] - size >= self.limits.slowest * self.limits.write_seconds:
            self._unsent = size, now
        return now - self._unsent[1] > self.limits.write_seconds

    # --- and what follows from it ---

    def _make_room(self) -> None:
        """Close the one that has been silent longest; where all are at work, refuse this one."""
        others = [cast(BoundedProtocol, other) for other in self.connections if other is not self]
        open_ones = [other for other in others if not other.transport.is_closing()]
        if len(open_ones) < self.limits.connections:
            return
        if silent := [other for other in open_ones if other._is_silent()]:
            min(silent, key=lambda other: other._since).transport.close()
        elif len(open_ones) < self.limits.connections + _SPARE:
            self._refuse(TooManyConnections())
        else:
            self.transport.abort()

    def _is_silent(self) -> bool:
        waits = self._awaited in (_AwaitedPart.REQUEST, _AwaitedPart.HEAD)
        return waits and not self._is_answering() and not self._is_local

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _await(self, what: _AwaitedPart) -> None:
        self._awaited, self._since = what, self.loop.time()

    def _fail(self, error: IkomaError) -> None:
        """Ends what the parser does; it comes back by `send_400_response`."""
        self._refusal = error
        raise error

    def _refuse(self, error: IkomaError) -> None:
        """Answer, and take nothing more. Where another answer is under way, there is only the end."""
        if self.transport.is_closing() or self._awaited is _AwaitedPart.NOTHING:
            return
        if self._is_answering():
            if self._awaited is not _AwaitedPart.BODY or self.cycle.response_started or self.pipeline:
                self.transport.abort()
                return
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._unset_keepalive_if_required()
        self._await(_AwaitedPart.NOTHING)
        self.transport.write(_answer(error))
        self.transport.write_eof()


def bound(limits: ConnectionLimits) -> type[BoundedProtocol]:
    """The protocol within these limits."""
    return type("BoundedProtocol", (BoundedProtocol,), {"limits": limits})


async def look_after(connections: Collection[Any], limits: ConnectionLimits) -> None:
    """Look at all connections now and then, for ever."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(limits.pause)
        now = loop.time()
        for connection in list(connections):
            try:
                connection.check_progress(now)
            except Exception:  # the others must still be looked at
                log.exception("a connection is ended")
                connection.transport.abort()


def _answer(error: IkomaError) -> bytes:
    body = envelope.make_failure(secrets.token_hex(12), error)
    pairs = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if error.status == HTTPStatus.SERVICE_UNAVAILABLE:
        pairs.append((b"retry-after", b"1"))
    lines = [f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}".encode()]
    lines += [name + b": " + value for name, value in add_headers([*pairs, (b"connection", b"close")])]
    return b"\r\n".join([*lines, b"", body])
