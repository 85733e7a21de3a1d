"""Serves the HTTP door on a TCP port and on a unix socket until it is asked to stop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import math
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Generator
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from ikoma.errors import StartRefused
from ikoma.settings import Settings
from ikoma.transports.protocol import ConnectionLimits, bound, look_after

log = logging.getLogger("ikoma")

_GRACE_SECONDS = 60


class _UvicornServer(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Signals are ours: the platform stops after the server has, not with it."""
        yield


class StopRequest:
    """The signals that ask the server to stop: the first asks, the second ends what is still under way.

    SIGUSR1 says that another server follows at once, as in an upgrade.

    They are listened to once, from before the start to after the end, so that none falls between two listeners.
    """

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.asked_again = asyncio.Event()
        self.by_a_person = False
        self.for_successor = False

    def listen(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            asyncio.get_running_loop().add_signal_handler(number, self._take, number)

    def _take(self, number: signal.Signals) -> None:
        self.by_a_person = self.by_a_person or number is signal.SIGINT
        self.for_successor = self.for_successor or number is signal.SIGUSR1
        (self.asked_again if self.asked.is_set() else self.asked).set()


async def serve(
    app: ASGIApp,
    sockets: list[socket.socket],
    *,
    proxied: tuple[ASGIApp, socket.socket] | None = None,
    on_ready: Callable[[], None],
    stop: StopRequest,
    on_stop: Callable[[], None],
    drain: Callable[[], Awaitable[None]],
    limits: ConnectionLimits | None = None,
) -> None:
    """Answer on the sockets until it is asked to stop; calls under way get a minute to end.

    Until they have, calls that come by TCP are answered, those that change something with 503. What comes by the proxy
    is not accepted any more: it waits there for the next server.

    Args:
        proxied: the application for what the proxy passes on, and the socket to which only the proxy can connect.
        on_stop: ends what would stay open as long as its client likes.
        drain: takes no more work, and returns when that under way has ended.
        limits: what a connection may have; the product's own when omitted.
    """
    limits = limits or ConnectionLimits()
    own = _make_server(app, limits)
    servers = {own: sockets}
    if proxied is not None:
        servers[_make_server(proxied[0], limits, trusts_proxy=True)] = [proxied[1]]

    async def end_when_asked() -> None:
        await stop.asked.wait()
        on_stop()
        for server in servers:
            server.should_exit = server is not own
        again, draining = asyncio.ensure_future(stop.asked_again.wait()), asyncio.ensure_future(drain())
        await asyncio.wait([again, draining], return_when=asyncio.FIRST_COMPLETED)
        draining.cancel()
        own.should_exit = True
        await again
        for server in servers:
            server.force_exit = True

    serving = asyncio.gather(*(server.serve(listening) for server, listening in servers.items()))
    beside = [asyncio.ensure_future(look_after(server.server_state.connections, limits)) for server in servers]
    while not (all(server.started for server in servers) or serving.done()):  # noqa: ASYNC110 - a flag, not an event
        await asyncio.sleep(0.01)
    if all(server.started for server in servers):
        on_ready()
        # Only now: a server that is asked before it has started ends without closing what it listens on.
        beside.append(asyncio.ensure_future(end_when_asked()))
    try:
        await serving
    finally:
        for task in beside:
            task.cancel()


def _make_server(app: ASGIApp, limits: ConnectionLimits, *, trusts_proxy: bool = False) -> _UvicornServer:
    return _UvicornServer(
        uvicorn.Config(
            app,
            http=bound(limits),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=trusts_proxy,
            forwarded_allow_ips="*" if trusts_proxy else None,
            timeout_keep_alive=math.ceil(limits.idle_seconds),
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
    )


def listen(settings: Settings) -> list[socket.socket]:
    """The sockets to serve on; StartRefused, saying what is in the way, where the port can't be had.

    A rehearsal serves on its unix socket alone: the port is the server's.
    """
    if settings.rehearsal:
        unix = listen_unix(settings.socket_file)
        return [unix] if unix else []
    address = f"{settings.http_host}:{settings.http_port}"
    family = socket.AF_INET6 if ":" in settings.http_host else socket.AF_INET
    tcp = socket.socket(family, socket.SOCK_STREAM)
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        tcp.bind((settings.http_host, settings.http_port))
        tcp.listen(2048)
    except OSError as error:
        tcp.close()
        if error.errno == errno.EADDRINUSE:
            raise StartRefused(
                f"{address} is in use by another process.",
                hint="Stop it (it may be another `ikoma up`), or choose another HTTP_PORT.",
            ) from error
        raise StartRefused(f"Cannot listen on {address}: {error.strerror or error}.") from error
    unix = listen_unix(settings.socket_file)
    return [tcp, unix] if unix else [tcp]


def listen_unix(path: Path) -> socket.socket | None:
    """A unix socket for its owner only; None when another server on this state has it."""
    unix = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("no unix socket: %s: %s", path, error)
            return None
        else:
            log.info("another server answers on %s; this one serves TCP only", path)
            return None
    before = os.umask(0o177)
    try:
        unix.bind(str(path))
    except OSError as error:
        log.warning("no unix socket: %s: %s", path, error)
        unix.close()
        return None
    finally:
        os.umask(before)
    unix.listen(512)
    return unix
