"""Lookups of names of the internet, and whether they point to this server.

Name servers are asked in threads of their own, which nothing waits for longer than it said: the system's resolver takes
its time, and cannot be stopped. Who asks for a name that is being asked for waits for the same answer.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass

import psutil

_MOST_AT_ONCE = 32
_SILENT = "no name server has answered so far"
_UNKNOWN = "the address by which the internet reaches this server (the setting PUBLIC_ADDRESS names it)"


@dataclass(frozen=True, slots=True)
class DnsTarget:
    """The target of a name. `here` is None where that cannot be told."""

    addresses: tuple[str, ...]
    here: bool | None
    said: str
    """The target in words, for people."""
    record: str | None = None
    """The record to set at its name server, where it does not point here."""


class DnsLookup:
    """Looks names up.

    Args:
        public: addresses by which others reach this server, as its settings say.
        listens: the one address that the proxy listens on; "" for all of this machine's.
    """

    def __init__(self, public: Sequence[str], listens: str) -> None:
        self._public = tuple(public)
        self._listens = listens
        self._asking: dict[str, asyncio.Future[list[str] | OSError]] = {}

    async def look_up(self, name: str, seconds: float) -> DnsTarget:
        """Find where a name points now; the seconds bound the wait, and what is unknown then is said."""
        own = self._list_own()
        asking = self._asking.get(name) or self._ask(name)
        found: list[str] | OSError | None = None
        if asking is not None:
            with suppress(TimeoutError):
                found = await asyncio.wait_for(asyncio.shield(asking), seconds)
        if found is None or (isinstance(found, OSError) and found.errno == socket.EAI_AGAIN):
            return DnsTarget((), None, f"It is not known where {name} points: {_SILENT}.")
        if isinstance(found, OSError) or not found:
            return DnsTarget((), False, f"{name} points nowhere.", self._describe_record(name, own))
        return self._judge(name, found, own)

    def _judge(self, name: str, found: Sequence[str], own: Collection[str]) -> DnsTarget:
        others = [address for address in found if address not in own]
        if not others:
            return DnsTarget(tuple(found), True, f"{name} points to this server, {', '.join(found)}.")
        elsewhere = ", ".join(others)
        if len(others) < len(found):
            said = f"{name} points to this server, and also to {elsewhere}, which is another."
            return DnsTarget(tuple(found), False, said, self._describe_record(name, own))
        if not self._list_public(own) and all(ipaddress.ip_address(item).is_global for item in others):
            said = f"{name} points to {elsewhere}. Whether that is this server is not known: it has private addresses."
            return DnsTarget(tuple(found), None, said, self._describe_record(name, own))
        return DnsTarget(
            tuple(found), False, f"{name} points to {elsewhere}, not to this server.", self._describe_record(name, own)
        )

    def _describe_record(self, name: str, own: Collection[str]) -> str:
        best = sorted(self._list_public(own), key=lambda item: (":" in item, item))
        if not best:
            return f"A {name} → {_UNKNOWN}"
        return f"{'AAAA' if ':' in best[0] else 'A'} {name} → {best[0]}"

    def _list_public(self, own: Collection[str]) -> list[str]:
        """Addresses by which the internet reaches this server, where that can be told."""
        return list(self._public) or [item for item in own if ipaddress.ip_address(item).is_global]

    def _list_own(self) -> set[str]:
        """Addresses of this server at which the proxy can be reached by others."""
        listens = ipaddress.ip_address(self._listens) if self._listens else None
        if listens is not None and not listens.is_unspecified:
            return {str(listens), *self._public}
        found = {item.address.partition("%")[0] for card in psutil.net_if_addrs().values() for item in card}
        return {item for item in found if _is_reachable(item)} | {*self._public}

    def _ask(self, name: str) -> asyncio.Future[list[str] | OSError] | None:
        """Begin to ask; None where too much is being asked already."""
        if len(self._asking) >= _MOST_AT_ONCE:
            return None
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[str] | OSError] = loop.create_future()
        self._asking[name] = answer

        def settle(found: list[str] | OSError) -> None:
            self._asking.pop(name, None)
            answer.set_result(found)

        def ask() -> None:
            found = _resolve(name)
            with suppress(RuntimeError):  # nobody waits any more: the server has ended
                loop.call_soon_threadsafe(settle, found)

        threading.Thread(target=ask, name="names", daemon=True).start()
        return answer


def _resolve(name: str) -> list[str] | OSError:
    """Resolve a name as the world knows it, or else as this machine's own files do."""
    error: OSError = socket.gaierror(socket.EAI_NONAME, "no such name")
    for asked in (f"{name}.", name):
        try:
            found = socket.getaddrinfo(asked, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as failure:
            error = failure if isinstance(failure, OSError) else error
            if error.errno == socket.EAI_AGAIN:
                break
            continue
        return sorted({str(item[4][0]).partition("%")[0] for item in found}, key=lambda item: (":" in item, item))
    return error


def _is_reachable(text: str) -> bool:
    with suppress(ValueError):
        address = ipaddress.ip_address(text)
        return not (address.is_loopback or address.is_link_local)
    return False
