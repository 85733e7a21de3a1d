"""Where a network listens, as the kernel's tables say."""

from __future__ import annotations

from pathlib import Path

from ikoma.engines.docker.listening import list_of_process
from ikoma.ports.runtime import ListeningPort

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
TCP = HEAD + (
    "   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 119 1\n"
    "   1: 0100007F:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 120 1\n"
    "   2: 0B00007F:A3C1 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 121 1\n"
    "   3: 020012AC:1F90 010012AC:9352 01 00000000:00000000 03:00000EB1 00000000     0        0 122 3\n"
)
TCP6 = HEAD + (
    "   0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 1\n"
    "   1: 00000000000000000000000001000000:0051 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 1\n"
    "   2: 0000000000000000FFFF00000100007F:0052 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 1\n"
)
TRIE = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 172.18.0.2\n        /32 host LOCAL\n"


def proc(folder: Path) -> Path:
    net = folder / "42" / "net"
    net.mkdir(parents=True)
    (net / "tcp").write_text(TCP)
    (net / "tcp6").write_text(TCP6)
    (net / "fib_trie").write_text(TRIE)
    return folder


def test_what_listens_is_told_apart_from_what_only_the_container_reaches(tmp_path: Path) -> None:
    assert list_of_process(42, "172.18.0.2", proc(tmp_path)) == (
        ListeningPort("0.0.0.0", 8080, False),
        ListeningPort("127.0.0.1", 3000, True),
        ListeningPort("::", 80, False),
        ListeningPort("::1", 81, True),
        ListeningPort("127.0.0.1", 82, True),
    )


def test_of_another_network_and_of_a_process_that_is_gone_nothing_is_known(tmp_path: Path) -> None:
    assert list_of_process(42, "172.18.0.22", proc(tmp_path)) is None
    assert list_of_process(43, "172.18.0.2", tmp_path) is None
