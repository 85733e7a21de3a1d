"""Listeners of the proxy. A port that another program has must not keep the rest from being served.

Caddy shares ports with any other Caddy of the same user, so that requests would go to either: whether a port is free
is therefore found out by us, and before.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import psutil

_DATAGRAMS = "udp/"


@dataclass(frozen=True, slots=True)
class Openings:
    """The listeners that can be had."""

    http: bool = False
    https: bool = False
    http3: bool = False
    closed: frozenset[int] = frozenset()
    """Ports of apps that another program has."""


def format_address(host: str, port: int) -> str:
    """A listener in Caddy's words; no host is every address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def find_own_address(host: str) -> str:
    """An address of this machine where a listener is reached: of several one that others know it by.

    An app is told who asks. What comes from loopback it may take for the machine's own administrator.
    """
    if host and not ipaddress.ip_address(host).is_unspecified:
        return host
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing: it only asks which address would be used
        return str(probe.getsockname()[0])
    others = [item.address for card in psutil.net_if_addrs().values() for item in card if item.family is socket.AF_INET]
    return next((other for other in others if not ipaddress.ip_address(other).is_loopback), "127.0.0.1")


def find_obstacle(host: str, port: int, *, ours: Collection[str], datagrams: bool = False) -> str | None:
    """The reason why nobody can listen there, in a few words; None where one can.

    Args:
        ours: the listeners that the running proxy has already.
        datagrams: whether it is HTTP/3 that is to be served.
    """
    if (_DATAGRAMS if datagrams else "") + format_address(host, port) in ours:
        return None
    try:
        _bind(host, port, socket.SOCK_DGRAM if datagrams else socket.SOCK_STREAM)
    except OSError as error:
        return _reasons.get(error.errno or 0) or error.strerror or str(error)
    return None


def find_listening(servers: Iterable[Mapping[str, list[str]]]) -> frozenset[str]:
    """The listeners that these servers of a configuration have, for `obstacle`."""
    return frozenset(
        kind + listener
        for server in servers
        for listener in server["listen"]
        for kind in ("", *([_DATAGRAMS] if "h3" in server["protocols"] else []))
    )


_reasons = {
    errno.EADDRINUSE: "another program listens there",
    errno.EACCES: "this needs root or the capability CAP_NET_BIND_SERVICE",
    errno.EADDRNOTAVAIL: "this machine does not have that address",
}


def _bind(host: str, port: int, kind: socket.SocketKind) -> None:
    if host:
        return _bind_one(socket.AF_INET6 if ":" in host else socket.AF_INET, host, port, kind)
    if socket.has_ipv6:
        # Both kinds of address at once, as Caddy does; machines without IPv6 have the other kind alone.
        with suppress(_NoSuchFamily):
            return _bind_one(socket.AF_INET6, "::", port, kind)
    return _bind_one(socket.AF_INET, "0.0.0.0", port, kind)  # noqa: S104


class _NoSuchFamily(Exception):
    pass


def _bind_one(family: socket.AddressFamily, host: str, port: int, kind: socket.SocketKind) -> None:
    try:
        probe = socket.socket(family, kind)
    except OSError as error:
        raise _NoSuchFamily from error
    with probe:
        if kind is socket.SOCK_STREAM:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if host == "::":
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        try:
            probe.bind((host, port))
        except OSError as error:
            if family is socket.AF_INET6 and host == "::" and error.errno == errno.EADDRNOTAVAIL:
                raise _NoSuchFamily from error
            raise
