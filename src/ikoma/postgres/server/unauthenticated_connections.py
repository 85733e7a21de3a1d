"""Ends connections to PostgreSQL that do not log in, where they are so many that nobody else would find a place.

Whoever reaches the port can open one without any password, and each has a place until `authentication_timeout`, those
kept for superusers included. PostgreSQL tells of them in no view, so they are known by the titles of its processes; the
address that has the most goes first. It asks PostgreSQL nothing, for there would be no way in.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil

from ikoma.postgres.server import cluster
from ikoma.postgres.server.embedded import EmbeddedPostgres

log = logging.getLogger("ikoma.postgres")

MOST = cluster.CONNECTIONS // 4
_PAUSE, _AGAIN = 2.0, 0.05
_LOGS_IN = re.compile(rb" ([\d.]+)\(\d+\) authentication\Z")
_WARY_LOOKS = 600
"""After those that it ended, it looks often for half a minute and more: whoever means it connects again at once."""


async def turn_away(server: EmbeddedPostgres, *, most: int = MOST, pause: float = _PAUSE) -> None:
    """Look every two seconds, until cancelled."""
    wary = 0
    while True:
        found = await asyncio.to_thread(end_too_many, server.pid, most) if server.pid else 0
        wary = _WARY_LOOKS if found else wary - 1
        await asyncio.sleep(min(pause, _AGAIN) if wary > 0 else pause)


def end_too_many(postmaster: int, most: int) -> int:
    """Leave no more than `most` connections that have not logged in; how many were ended."""
    waiting = _list_waiting(postmaster)
    if len(waiting) <= most:
        return 0
    if not all(waiting.values()):
        waiting = _add_addresses(waiting)
    ended = 0
    for address, count in Counter(waiting.values()).most_common():
        if len(waiting) - ended <= most:
            break
        for pid in (pid for pid, source in waiting.items() if source == address):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        ended += count
        log.warning("PostgreSQL: %d connections from %s that had not logged in were ended", count, address)
    return ended


def _list_waiting(postmaster: int) -> dict[int, str]:
    """The server's processes whose client has not logged in, with its address; "" before it has said who it is.

    Until then a process has no title of its own. Read from /proc as it is: whoever floods makes them as fast.
    """
    found = {}
    with suppress(OSError):
        untitled = _read_title(postmaster)
        for pid in Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split():
            with suppress(OSError):
                title = _read_title(pid)
                if named := _LOGS_IN.search(title):
                    found[int(pid)] = named[1].decode()
                elif title == untitled:
                    found[int(pid)] = ""
    return found


def _read_title(pid: int | str) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0")


def _add_addresses(waiting: dict[int, str]) -> dict[int, str]:
    """Connections that are still there, each with its client's address."""
    known = {item.pid: item.raddr.ip for item in psutil.net_connections("tcp") if item.raddr}
    return {pid: known[pid] for pid in waiting if pid in known}
