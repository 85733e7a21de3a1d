"""A second port of the embedded PostgreSQL, for clients that insist on TLS: the server that comes along has none.

What comes in by it is deciphered here and goes on to the server, from an address of the loopback network that stands
for the client's own: never from 127.0.0.1, from where the platform's role may come. Who needs no TLS goes past it,
straight to the server, and is not touched when this process ends.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import ssl
import struct
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import cast

from ikoma.durable import write_file
from ikoma.postgres.server.certificates import Authority
from ikoma.postgres.server.postmaster import is_taken
from ikoma.postgres.server.relay import relay
from ikoma.postgres.server.server import HOST_NAME

log = logging.getLogger("ikoma.postgres")

_TLS, _GSS, _CANCEL = 80877103, 80877104, 80877102
_REQUEST, _SHORTEST_CANCEL, _LONGEST_CANCEL = 8, 16, 268
_HANDSHAKE_SECONDS = 5.0
_FAR, _PORTS = 10_000, 65_536
_MOST, _MOST_OF_ONE = 300, 100
_PAUSE = 2.0


class TlsDoor:
    """Open at 127.0.0.1 and at the address for apps, on one port that is remembered.

    Args:
        root: the folder of the embedded server.
        server: tells the port of the server itself.
    """

    def __init__(self, root: Path, server: Callable[[], int]) -> None:
        self._root = root
        self._server = server
        self._authority = Authority(root / "tls")
        self._addresses = ["127.0.0.1"]
        self._open: dict[str, asyncio.Server] = {}
        self._clients: Counter[str] = Counter()
        self._waiting: Counter[str] = Counter()
        self._serving: set[asyncio.Task[None]] = set()
        self._keeping: asyncio.Task[None] | None = None
        self._told = asyncio.Event()

    @property
    def port(self) -> int | None:
        """The port at which apps reach it; None before it was open for the first time."""
        with suppress(FileNotFoundError, ValueError):
            return int((self._root / "tls-port").read_text())
        return None

    @property
    def certificate(self) -> str | None:
        """The certificate that clients verify it by."""
        return self._authority.certificate

    async def open(self) -> None:
        """Open it, and again wherever it is to be open: another server on this state may have the port for now."""
        await self._try_all()
        self._keeping = asyncio.ensure_future(self._keep())

    def add(self, address: str) -> None:
        """Be open at this address too."""
        if address not in self._addresses:
            self._addresses = ["127.0.0.1", address]
            self._told.set()

    async def close(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait([self._keeping])
        for listening in self._open.values():
            listening.close()
        self._open.clear()
        for task in self._serving:
            task.cancel()
        if self._serving:
            await asyncio.wait(self._serving)

    # --- listening ---

    async def _keep(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_PAUSE if len(self._open) < len(self._addresses) else None):
                    await self._told.wait()
            self._told.clear()
            try:
                await self._try_all()
            except Exception:
                log.exception("PostgreSQL's TLS port could not be opened everywhere; it is tried again")

    async def _try_all(self) -> None:
        for address in [address for address in self._open if address not in self._addresses]:
            self._open.pop(address).close()
        missing = [address for address in self._addresses if address not in self._open]
        if not missing:
            return
        port = self.port or self._find_free_port()
        context = await asyncio.to_thread(self._authority.make_context, (HOST_NAME, "localhost", *self._addresses))
        for address in missing:
            try:
                listening = await asyncio.get_running_loop().create_server(
                    lambda: _Greeting(self, context), address, port
                )
            except OSError as error:
                if error.errno not in (errno.EADDRINUSE, errno.EADDRNOTAVAIL):
                    log.error("PostgreSQL takes no TLS at %s:%d: %s", address, port, error.strerror)
                continue
            self._open[address] = listening
            write_file(self._root / "tls-port", str(port))

    def _find_free_port(self) -> int:
        """A free port, far from where other servers look for theirs: 15432 for 5432."""
        first = self._server() + (_FAR if self._server() + 2 * _FAR < _PORTS else -_FAR)
        return next(port for port in range(first, _PORTS) if not is_taken(port))

    # --- one client ---

    def admit(self, address: str) -> bool:
        """Take another client of that address that has said nothing yet; False where too many are silent."""
        if self._waiting.total() >= _MOST or self._waiting[address] >= _MOST_OF_ONE:
            return False
        self._waiting[address] += 1
        return True

    def has_spoken(self, address: str) -> None:
        """Let go of one that was admitted: it has said what it wants, or has gone."""
        self._waiting[address] -= 1
        if not self._waiting[address]:
            del self._waiting[address]

    def has_room(self, address: str) -> bool:
        """Whether there is a place for another client of that address."""
        return len(self._serving) < _MOST and self._clients[address] < _MOST_OF_ONE

    def serve(self, greeting: _Greeting, context: ssl.SSLContext | None, first: bytes) -> None:
        """Pass on what this client says from here on: after a handshake, or `first` and no more."""
        self._clients[greeting.address] += 1
        task = asyncio.ensure_future(self._pass_on(greeting, context, first))
        self._serving.add(task)
        task.add_done_callback(lambda done: self._note_gone(greeting, done))

    def _note_gone(self, greeting: _Greeting, task: asyncio.Task[None]) -> None:
        self._serving.discard(task)
        self._clients[greeting.address] -= 1
        if not self._clients[greeting.address]:
            del self._clients[greeting.address]
        greeting.abort()
        if not task.cancelled() and (error := task.exception()) and not isinstance(error, OSError | TimeoutError):
            log.error("PostgreSQL's port for TLS: %s: %s", type(error).__name__, error)

    async def _pass_on(self, greeting: _Greeting, context: ssl.SSLContext | None, first: bytes) -> None:
        near = None if context is None else await greeting.secure(context)
        far_reader, far_writer = await asyncio.open_connection(
            "127.0.0.1", self._server(), local_addr=(choose_stand_in(greeting.address), 0)
        )
        try:
            if near is None:
                far_writer.write(first)
                await far_writer.drain()
                await far_reader.read()
                return
            try:
                await relay(near, (far_reader, far_writer))
            finally:
                await _close(near[1])
        finally:
            far_writer.close()


class _Greeting(asyncio.Protocol):
    """A client's words before TLS. Nothing that came unenciphered is ever taken for what came by TLS."""

    def __init__(self, door: TlsDoor, context: ssl.SSLContext) -> None:
        self._door = door
        self._context = context
        self._said = b""
        self._is_answered = False
        self._is_admitted = False
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self.address = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own is none by its class
        self.address = str((transport.get_extra_info("peername") or ("127.0.0.1",))[0])
        self._is_admitted = self._door.admit(self.address)
        if self._is_admitted:
            self._deadline = asyncio.get_running_loop().call_later(_HANDSHAKE_SECONDS, self.abort)
        else:
            self.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._stop_waiting()

    def data_received(self, piece: bytes) -> None:
        self._said += piece
        if self._is_answered or len(self._said) < _REQUEST:
            return
        length, code = struct.unpack("!II", self._said[:_REQUEST])
        if (length, code, len(self._said)) == (_REQUEST, _GSS, _REQUEST):
            self._said = b""
            self._write(b"N")
        elif not self._door.has_room(self.address):
            self._refuse("53300", "too many connections by TLS")
        elif (length, code, len(self._said)) == (_REQUEST, _TLS, _REQUEST):
            self._answer(self._context, b"")
        elif code == _CANCEL and _SHORTEST_CANCEL <= length <= _LONGEST_CANCEL:
            if len(self._said) == length:
                self._answer(None, self._said)
        else:
            self._refuse("28000", "this port takes TLS only: use sslmode=require, or the other port")

    async def secure(self, context: ssl.SSLContext) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The client's side after the handshake."""
        assert self._transport is not None
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        secure = await loop.start_tls(
            self._transport, protocol, context, server_side=True, ssl_handshake_timeout=_HANDSHAKE_SECONDS
        )
        if secure is None:
            raise ConnectionResetError
        protocol.connection_made(secure)
        return reader, asyncio.StreamWriter(secure, protocol, reader, loop)

    def abort(self) -> None:
        """Hang up, whatever was not sent yet: who does not read would keep the connection."""
        self._stop_waiting()
        if self._transport is not None:
            self._transport.abort()

    def _answer(self, context: ssl.SSLContext | None, first: bytes) -> None:
        self._is_answered = True
        self._stop_waiting()
        if context is not None:
            self._write(b"S")
        self._door.serve(self, context, first)

    def _refuse(self, code: str, message: str) -> None:
        """Say why in PostgreSQL's own form, and hang up."""
        fields = f"SFATAL\0VFATAL\0C{code}\0M{message}\0\0".encode()
        self._write(b"E" + struct.pack("!I", len(fields) + 4) + fields)
        self._stop_waiting()
        if self._transport is not None:
            self._transport.close()

    def _write(self, text: bytes) -> None:
        assert self._transport is not None
        self._transport.write(text)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        if self._is_admitted:
            self._is_admitted = False
            self._door.has_spoken(self.address)


def choose_stand_in(address: str) -> str:
    """The loopback address from which a client's connection goes on: another for each, and never 127.0.0.1."""
    octets = ipaddress.IPv4Address(address).packed
    return f"127.{octets[1] | 128}.{octets[2]}.{octets[3]}"


async def _close(writer: asyncio.StreamWriter) -> None:
    """Let what was said last arrive: closed below TLS, the connection would lose it."""
    writer.close()
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(_HANDSHAKE_SECONDS):
            await writer.wait_closed()
