"""Guessing keys gets slower: after some failures an address must wait, twice as long each time.

Who is known at an address goes on: a key that was good there lately is let in while guesses wait.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field

from ikoma.errors import TooManyFailures

_FORGET_SECONDS = 600.0
_LONGEST_SECONDS = 300.0
_MOST_ADDRESSES = 10_000
_MOST_KNOWN = 100


@dataclass(slots=True)
class _Address:
    failures: int = 0
    last: float = 0.0
    blocked_until: float = 0.0
    known: set[bytes] = field(default_factory=set)


class Throttle:
    """Counts failed authentications per address.

    Args:
        most: failures that are free before an address must wait.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._addresses: dict[str, _Address] = {}

    def check(self, address: str, key: str | None) -> None:
        """TooManyFailures, with the seconds to wait, where this address must wait and the key is not known there."""
        seen = self._addresses.get(address)
        if seen is None or seen.blocked_until == 0.0:
            return
        left = seen.blocked_until - time.monotonic()
        if left > 0 and (key is None or _compute_digest(key) not in seen.known):
            raise TooManyFailures(f"Too many wrong keys came from {address}.", retryAfter=int(left) + 1)

    def count_failure(self, address: str) -> None:
        """Count a wrong key."""
        now = time.monotonic()
        seen = self._find_address(address, now)
        if now - seen.last > _FORGET_SECONDS:
            seen.failures = 0
        seen.failures += 1
        seen.last = now
        if seen.failures > self._most:
            seen.blocked_until = now + min(2.0 ** (seen.failures - self._most - 1), _LONGEST_SECONDS)

    def remember_success(self, address: str, key: str) -> None:
        """Remember a key that was good at this address."""
        known = self._find_address(address, time.monotonic()).known
        if len(known) < _MOST_KNOWN:
            known.add(_compute_digest(key))

    def _find_address(self, address: str, now: float) -> _Address:
        found = self._addresses.get(address)
        if found is None:
            if len(self._addresses) >= _MOST_ADDRESSES:
                self._addresses = {
                    name: seen for name, seen in self._addresses.items() if now - seen.last < _FORGET_SECONDS
                }
            found = self._addresses[address] = _Address()
        return found


def _compute_digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
