"""PostgreSQL's own process as the system sees it: whether it runs, what it left, whether a port is free."""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
from contextlib import suppress
from pathlib import Path

import psutil

from ikoma.durable import write_file
from ikoma.processes import is_alive

_ORPHAN_SECONDS = 2.0


def find_running(data: Path) -> int | None:
    """The pid of the postmaster of this data folder, if one is alive."""
    try:
        process = psutil.Process(int((data / "postmaster.pid").read_text().split("\n", 1)[0]))
        return process.pid if is_alive(process.pid) and str(data) in process.cmdline() else None
    except (OSError, ValueError, psutil.Error):
        return None


def clear_away(data: Path) -> None:
    """Remove what a killed postmaster leaves: backends still at work, and a pid that may be another's by now.

    The file itself stays. Its last lines name the shared memory, by which PostgreSQL sees that nobody else is at the
    data; without them two servers could write to it at once. A pid of its parent counts as nobody's.
    """
    orphans = [process for process in psutil.process_iter(["name", "cwd"]) if _is_orphan(process, data)]
    for process in orphans:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGQUIT)
    for process in psutil.wait_procs(orphans, timeout=_ORPHAN_SECONDS)[1]:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(orphans, timeout=_ORPHAN_SECONDS)
    with suppress(FileNotFoundError):
        lines = (data / "postmaster.pid").read_text().split("\n")
        owner = (data / "postmaster.pid").stat()
        write_file(data / "postmaster.pid", "\n".join([str(os.getpid()), *lines[1:]]), mode=0o600)
        os.chown(data / "postmaster.pid", owner.st_uid, owner.st_gid)


def _is_orphan(process: psutil.Process, data: Path) -> bool:
    return bool(process.info["name"] == "postgres" and process.info["cwd"] == str(data))


def is_taken(port: int) -> bool:
    """Whether something listens at this port of the loopback address."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def find_free_port() -> int:
    """PostgreSQL's usual port, or the first free one after it."""
    return next(port for port in range(5432, 65536) if not is_taken(port))


def is_address_here(address: str) -> bool:
    """Whether this is one IPv4 address of this machine, now: a bridge comes and goes with Docker."""
    try:
        if ipaddress.IPv4Address(address).is_unspecified:
            return False
        with socket.socket() as probe:
            probe.bind((address, 0))
    except (ValueError, OSError):
        return False
    return True
