"""On which TCP ports a container listens, read from the kernel's tables of its network: nothing runs inside it.

The tables are those of its first process in this machine's /proc. Where that is not to be seen, as from inside another
container or without the right to, nothing is known.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from pathlib import Path

from ikoma.ports.runtime import ListeningPort

_LISTEN = "0A"
_DOCKERS_NAMES = "127.0.0.11"
"""Docker's own resolver listens there in every network that is not the default one."""


def list_of_process(pid: int, address: str, proc: Path = Path("/proc")) -> Sequence[ListeningPort] | None:
    """Ports on which the network of a process listens; None where that cannot be told."""
    net = proc / str(pid) / "net"
    try:
        if f"|-- {address}\n" not in (net / "fib_trie").read_text():
            return None
        tables = [(net / name).read_text() for name in ("tcp", "tcp6") if (net / name).exists()]
    except OSError:
        return None
    return tuple(dict.fromkeys(item for table in tables for item in _list_listening(table)))


def _list_listening(table: str) -> Iterator[ListeningPort]:
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 3 and fields[3] == _LISTEN:
            address, port = fields[1].split(":")
            where = _parse_address(address)
            if str(where) != _DOCKERS_NAMES:
                yield ListeningPort(str(where), int(port, 16), where.is_loopback)


def _parse_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address as the kernel writes it: words of four bytes, each of them turned round."""
    words = [bytes.fromhex(text[start : start + 8])[::-1] for start in range(0, len(text), 8)]
    address = ipaddress.ip_address(b"".join(words))
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address
