"""Networks that the server itself uses: an app that took one would get what is meant for others."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from ikoma.apps.host_facts import IpNetwork

_OF_DOCKER = ("lo", "docker", "br-", "veth")
_HALF_OF_ALL = 7
"""Routes to more than that are default routes; a VPN sets one for each half of all addresses."""
_RESOLVERS = ("etc/resolv.conf", "run/systemd/resolve/resolv.conf")
_RESOLVER = re.compile(r"^nameserver\s+([0-9A-Fa-f.:]+)", re.MULTILINE)


def list_server_networks(root: Path = Path("/"), *, hosts: Iterable[str] = ()) -> tuple[IpNetwork, ...]:
    """Networks of its interfaces and routes, without those that Docker makes, its resolvers, and some hosts."""
    found: set[IpNetwork] = {*_list_interface_networks(), *_list_routed_networks(root), *_list_resolver_networks(root)}
    for host in hosts:
        with suppress(OSError, UnicodeError):  # a name that nobody knows leads nowhere
            found |= {_find_network(str(item[4][0])) for item in socket.getaddrinfo(host, None)}
    return tuple(sorted(found, key=lambda net: (net.version, net.network_address.packed, net.prefixlen)))


def _list_interface_networks() -> Iterator[IpNetwork]:
    for name, items in psutil.net_if_addrs().items():
        for item in items:
            if item.family in (socket.AF_INET, socket.AF_INET6) and item.netmask and not name.startswith(_OF_DOCKER):
                yield _find_network(item.address, _count_kept_bits(item.netmask))


def _count_kept_bits(mask: str) -> int:
    """The number of bits of an address that a mask keeps."""
    return int(ipaddress.ip_address(mask)).bit_count()


def _list_routed_networks(root: Path) -> Iterator[IpNetwork]:
    """The kernel's tables: addresses in hexadecimal, those of IPv4 with their bytes turned round."""
    for line in _read_lines(root / "proc/net/route")[1:]:
        name, target, *_, mask, _, _, _ = line.split()
        length = int(mask, 16).bit_count()
        if length >= _HALF_OF_ALL and not name.startswith(_OF_DOCKER):
            yield ipaddress.ip_network((bytes.fromhex(target)[::-1], length), strict=False)
    for line in _read_lines(root / "proc/net/ipv6_route"):
        target, length_in_hex, *_, name = line.split()
        length = int(length_in_hex, 16)
        if length >= _HALF_OF_ALL and not name.startswith(_OF_DOCKER):
            yield ipaddress.ip_network((bytes.fromhex(target), length), strict=False)


def _list_resolver_networks(root: Path) -> Iterator[IpNetwork]:
    for file in _RESOLVERS:
        for address in _RESOLVER.findall("\n".join(_read_lines(root / file))):
            with suppress(ValueError):
                yield _find_network(address)


def _find_network(address: str, length: int | None = None) -> IpNetwork:
    plain = address.partition("%")[0]
    return ipaddress.ip_network(plain if length is None else f"{plain}/{length}", strict=False)


def _read_lines(path: Path) -> list[str]:
    with suppress(OSError):
        return path.read_text(errors="replace").splitlines()
    return []
