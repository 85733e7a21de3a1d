"""Anchors: every so often the number and hash of the last audit entry, put where the log's writer cannot reach.

Who can write the log, and the head with it, can write another log. Not one that agrees with what was anchored before
on another machine. Anchors go to a file of IKOMA's own and, where the operator wants, to a file, a webhook or syslog.
"""

from __future__ import annotations

import asyncio
import logging
import logging.handlers
import os
import urllib.request
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import orjson

from ikoma.errors import IkomaError
from ikoma.kernel.audit.log import AuditLog
from ikoma.moments import format_moment

log = logging.getLogger("ikoma.audit")

_SECONDS = 5.0

Place = Callable[[bytes], None]
"""Takes an anchor as a line of JSON; raises OSError where it cannot."""


def append_to_file(path: Path) -> Place:
    """Appends anchors to a file, each on the disk before the next."""

    def put(anchor: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, anchor + b"\n")
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)

    return put


def post_to_webhook(url: str) -> Place:
    """Posts anchors to an address."""

    def put(anchor: bytes) -> None:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(url, anchor, headers, method="POST")  # noqa: S310 - settings allow https only
        with urllib.request.urlopen(request, timeout=_SECONDS):  # noqa: S310
            return

    return put


def send_to_syslog(address: str) -> Place:
    """Sends anchors to this machine's syslog (`local`) or to one at host:port, by UDP."""
    host, _, port = address.rpartition(":")
    where: str | tuple[str, int] = "/dev/log" if address == "local" else (host, int(port))

    def put(anchor: bytes) -> None:
        handler = logging.handlers.SysLogHandler(where, logging.handlers.SysLogHandler.LOG_AUTH)
        try:
            text = f"ikoma audit anchor {anchor.decode()}"
            handler.emit(logging.LogRecord("ikoma", logging.INFO, "", 0, text, None, None))
        finally:
            handler.close()

    return put


class Anchors:
    """Anchors a log.

    Args:
        places: where anchors go; one that fails is tried again with the next anchor.
        seconds: how often, where there is anything new.
    """

    def __init__(self, audit: AuditLog, places: Sequence[Place], seconds: float) -> None:
        self._audit = audit
        self._places = places
        self._seconds = seconds
        self._latest = 0

    async def run(self) -> None:
        """Anchor until cancelled."""
        while True:
            await asyncio.sleep(self._seconds)
            await self.anchor_last()

    async def anchor_last(self) -> None:
        """Anchor the last entry now, where it is a new one."""
        try:
            head = await self._audit.read_head()
        except (OSError, ValueError, IkomaError) as error:
            log.error("the audit log cannot be anchored: %s", error)
            return
        if head is None or head.seq == self._latest:
            return
        time = format_moment(datetime.now(UTC))
        anchor = orjson.dumps({"time": time, "seq": head.seq, "hash": head.hash})
        done = await asyncio.gather(*(asyncio.to_thread(_put, place, anchor) for place in self._places))
        if all(done):
            self._latest = head.seq


def _put(place: Place, anchor: bytes) -> bool:
    try:
        place(anchor)
    except (OSError, ValueError) as error:
        log.error("an anchor of the audit log could not be put where it belongs: %s", error)
        return False
    return True
