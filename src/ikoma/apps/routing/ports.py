"""Ports on loopback: each app's own, and the ports of its containers."""

from __future__ import annotations

import asyncio
import socket
import time
import zlib
from collections.abc import Sequence
from contextlib import suppress

from ikoma.app_folder import App
from ikoma.apps.app import Apps
from ikoma.durable import write_file

_FIRST_PORT, _LAST_PORT = 21_000, 29_999
_PAUSE = 0.02
_FILE = "port"


def read_port(app: App) -> int | None:
    """Read an app's port on loopback; None before one was chosen, and of an app that is gone."""
    try:
        return int((app.state / _FILE).read_text())
    except (OSError, ValueError):
        return None


def choose_port(app: App, apps: Apps) -> int:
    """Choose an app's port on loopback where it has none yet; it never changes."""
    if (known := read_port(app)) is not None:
        return known
    others = {read_port(apps.locate(name)) for name in apps.list_names()}
    first: int = _FIRST_PORT + zlib.crc32(app.name.encode()) % (_LAST_PORT - _FIRST_PORT)
    for port in (*range(first, _LAST_PORT + 1), *range(_FIRST_PORT, first)):
        if port not in others and _is_free(port):
            write_file(app.make_state() / _FILE, str(port), mode=0o600)
            return int(port)
    raise AssertionError("no port is free")


def _is_free(port: int) -> bool:
    try:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True


async def wait_until_connected(addresses: Sequence[str], seconds: float) -> None:
    """Wait until one of these (host:port) can be connected to, but not for longer."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for host, port in (address.rsplit(":", 1) for address in addresses):
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(1):
                    _, writer = await asyncio.open_connection(host, int(port))
                writer.close()
                return
        await asyncio.sleep(_PAUSE)
