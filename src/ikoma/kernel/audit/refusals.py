"""Refusals of strangers, kept from flooding the audit log: who has no key must not push out what others did.

The first few of an address in a minute are entries of their own; the rest of that minute is one entry with their
number. It takes the same room however many strangers there are.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ikoma.kernel.audit.entry import ERROR, AuditEntry
from ikoma.kernel.audit.lost_entries import make_stamp

SUMMED = "refusals_summed"
"""The code of an entry that stands for several refusals."""

_SECONDS = 60.0
_FIRST = 10
_FIRST_OF_ALL = 200
_MOST_ADDRESSES = 100
_ELSEWHERE = "other addresses"


@dataclass(slots=True)
class _Sum:
    since: str
    until: str = ""
    codes: dict[str, int] = field(default_factory=dict)

    def add(self, code: str) -> None:
        self.until = make_stamp()
        self.codes[code] = self.codes.get(code, 0) + 1

    def make_entry(self, address: str) -> AuditEntry:
        count = sum(self.codes.values())
        facts: dict[str, Any] = {"address": address, "count": count, "codes": self.codes}
        return AuditEntry(
            f"{random.getrandbits(96):024x}",
            "audit.refusals",
            arguments=facts | {"since": self.since, "until": self.until},
            result=ERROR,
            error=f"{count} more requests from {address} were refused.",
            code=SUMMED,
        )


class Refusals:
    """Writes refusals, or sums them up.

    Args:
        write: takes the entries that are to be written.
    """

    def __init__(self, write: Callable[..., None]) -> None:
        self._write = write
        self._began = 0.0
        self._seen: dict[str, int] = {}
        self._written = 0
        self._sums: dict[str, _Sum] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, entry: AuditEntry, address: str) -> None:
        """Put the refusal of somebody unknown at this address on record."""
        if time.monotonic() - self._began >= _SECONDS:
            self.flush()
        if address not in self._seen and len(self._seen) >= _MOST_ADDRESSES:
            address = _ELSEWHERE
        seen = self._seen[address] = self._seen.get(address, 0) + 1
        if seen <= _FIRST and self._written < _FIRST_OF_ALL:
            self._written += 1
            self._write(entry)
            return
        if not self._sums:
            left = self._began + _SECONDS - time.monotonic()
            self._timer = asyncio.get_running_loop().call_later(left, self.flush)
        self._sums.setdefault(address, _Sum(make_stamp())).add(entry.code or entry.result)

    def flush(self) -> None:
        """Write the sums, and begin another minute."""
        if self._timer is not None:
            self._timer.cancel()
        sums, self._sums = self._sums, {}
        self._began, self._seen, self._written = time.monotonic(), {}, 0
        if sums:
            self._write(*(found.make_entry(address) for address, found in sums.items()))
