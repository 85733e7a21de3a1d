"""domain.list: where names point, as a real name server says, and which certificates visitors get."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.apps import COMPOSE, make_app
from tests.support import IKOMA, Server, free_port
from tests.support import server as started_server

PUBLIC, ELSEWHERE, LISTENS = "203.0.113.5", "198.51.100.7", "127.0.0.77"
KNOWN = {
    "here.example.com": [PUBLIC],
    "there.example.com": [ELSEWHERE],
    "both.example.com": [ELSEWHERE, PUBLIC],
    "local.example.com": ["127.0.0.1"],
}
SLOW = "slow.example.com"


@pytest.fixture(scope="module")
def name_server() -> Iterator[None]:
    """Answers for the names above; of all others that there are none, but to those of the slow one it says nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.bind((LISTENS, 53))
        threading.Thread(target=answer_all, args=(asked,), daemon=True).start()
        yield


def answer_all(asked: socket.socket) -> None:
    with suppress(OSError):
        while True:
            packet, who = asked.recvfrom(2000)
            name, end = read_name(packet)
            if name.endswith(SLOW):
                continue
            addresses = KNOWN.get(name.lower(), []) if packet[end : end + 2] == b"\0\1" else []
            flags = 0x8180 if name.lower() in KNOWN else 0x8183
            records = [b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 5, 4) + socket.inet_aton(item) for item in addresses]
            head = packet[:2] + struct.pack("!HHHHH", flags, 1, len(records), 0, 0)
            asked.sendto(head + packet[12 : end + 4] + b"".join(records), who)


def read_name(packet: bytes) -> tuple[str, int]:
    labels, at = [], 12
    while size := packet[at]:
        labels.append(packet[at + 1 : at + 1 + size].decode())
        at += size + 1
    return ".".join(labels), at + 1


def asking(folder: Path, **settings: str) -> Any:
    """A server whose resolver asks that name server."""
    resolver = folder / "resolv.conf"
    resolver.write_text(f"nameserver {LISTENS}\noptions timeout:30 attempts:1\n")
    script = f"mount --bind {resolver} /etc/resolv.conf && exec {IKOMA} up"
    return started_server(command=("unshare", "-m", "sh", "-c", script), PROXY_HTTPS_PORT=str(free_port()), **settings)


@pytest.fixture(scope="module")
def house(name_server: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with asking(tmp_path_factory.mktemp("pointing"), PUBLIC_ADDRESS=PUBLIC, PROXY_TLS="internal") as started:
        named = (
            COMPOSE
            + "  watch: 0s\n  domains: [here.example.com]\n  redirects: {{both.example.com: here.example.com}}\n"
        )
        make_app(started, "pointed", compose=named)
        started.do("deploy.up", {"appName": "pointed"})
        yield started


def listed(server: Server, app: str = "pointed", **more: Any) -> dict[str, Any]:
    return {item["name"]: item for item in server.do("domain.list", {"appName": app}, **more)["domains"]}


def test_a_name_that_points_here_says_so_and_who_signed_its_certificate(house: Server) -> None:
    deadline = time.monotonic() + 60
    while (found := listed(house, role="observer")["here.example.com"])[
        "issuer"
    ] is None and time.monotonic() < deadline:
        assert found["certificate"].startswith("None: it is being made")
        time.sleep(0.5)
    assert (found["addresses"], found["here"], found["record"]) == ([PUBLIC], True, None)
    assert found["pointing"] == f"here.example.com points to this server, {PUBLIC}."
    assert "Caddy Local Authority" in found["issuer"]
    assert "this server's own authority" in found["certificate"]
    assert found["expires"][:4] >= "2026"
    assert found["trouble"] is None


def test_one_that_points_elsewhere_says_which_record_to_set(house: Server) -> None:
    both = listed(house)["both.example.com"]
    assert (both["here"], both["kind"]) == (False, "redirect")
    assert ELSEWHERE in both["pointing"]
    assert both["record"] == f"A both.example.com → {PUBLIC}"
    for name, said in {
        "there.example.com": f"points to {ELSEWHERE}, not to this server",
        "nowhere.example.com": "points nowhere",
    }.items():
        added = house.do("domain.add", {"appName": "pointed", "domain": name})["domains"]
        [found] = [item for item in added if item["name"] == name]
        assert found["here"] is False
        assert said in found["pointing"]
        assert found["record"] == f"A {name} → {PUBLIC}"
        house.do("domain.remove", {"appName": "pointed", "domain": name})


def test_a_name_server_that_is_silent_holds_nobody_up(house: Server) -> None:
    slow = [f"{number}.{SLOW}" for number in range(40)]
    for name in slow[:3]:
        house.do("domain.add", {"appName": "pointed", "domain": name})
    began = time.monotonic()
    answers = [listed(house) for _ in range(2)]
    assert time.monotonic() - began < 30
    for found in answers:
        assert found["here.example.com"]["here"] is True
        assert found[slow[0]]["here"] is None
        assert "not known" in found[slow[0]]["pointing"]
        assert found[slow[0]]["record"] is None
    for name in slow[:3]:
        house.do("domain.remove", {"appName": "pointed", "domain": name})


def test_the_command_says_it_in_lines(house: Server) -> None:
    shown = house.cli("domains", "pointed")
    assert shown.returncode == 0, shown.stderr
    assert "here.example.com points to this server" in shown.stdout
    assert f"A both.example.com → {PUBLIC}" in shown.stdout
    assert "Signed by this server's own authority" in shown.stdout


def test_without_a_public_address_and_without_an_authority_it_is_said_why(
    name_server: None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with asking(tmp_path_factory.mktemp("no-authority"), PROXY_TLS="acme") as started:
        named = COMPOSE + "  watch: 0s\n  domains: [there.example.com, local.example.com]\n"
        make_app(started, "pointed-too", compose=named)
        started.do("deploy.up", {"appName": "pointed-too"})
        deadline = time.monotonic() + 90
        while (found := listed(started, "pointed-too")["there.example.com"])["trouble"] is None:
            assert time.monotonic() < deadline, found
            time.sleep(0.5)
        assert "PUBLIC_ADDRESS" in found["record"]
        assert found["certificate"].startswith("None: ")
        assert (found["issuer"], found["expires"]) == (None, None)
        assert listed(started, "pointed-too")["local.example.com"]["here"] is True  # the proxy listens on loopback
        started.do("deploy.down", {"appName": "pointed-too"})


def test_without_https_it_is_said_that_there_is_no_certificate(server: Server) -> None:
    make_app(server, "pointed-plain", compose=COMPOSE + "  watch: 0s\n  domains: [plain.example.com]\n")
    server.do("deploy.up", {"appName": "pointed-plain"})
    found = listed(server, "pointed-plain")["plain.example.com"]
    assert found["certificate"] == "None: PROXY_HTTPS_PORT is 0, so names are served without encryption."
    server.do("apps.remove", {"appName": "pointed-plain"})
