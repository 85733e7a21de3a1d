"""Sights from outside for the fault tests: processes, files, and calls that end with their server."""

from __future__ import annotations

import os
import random
import secrets
import shutil
import signal
import subprocess
import threading
import time
import urllib.error
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any

import psutil

from tests.support import Answer, Server, eventually

TOOLS = ("docker-compose", "pg_dump", "initdb", "setpriv")
_RUN = secrets.token_hex(2)
SEED = int(os.environ.get("FAULTS_SEED") or random.SystemRandom().randrange(10**6))


def named(what: str) -> str:
    """An app's name that no other run of these tests on this machine's Docker has."""
    return f"fault-{what}-{_RUN}"


def moments(subject: str, count: int = 5) -> list[float]:
    """Random parts (0..1) of an operation's time at which it is interrupted, no two the same (tests name
    what they make by them); FAULTS_SEED brings them back."""
    chance = random.Random(f"{SEED} {subject}")
    return [thousandths / 1000 for thousandths in chance.sample(range(20, 801), count)]


class Background:
    """A call under way in a thread. `answer` is None when the connection broke before one came."""

    def __init__(self, server: Server, capability: str, arguments: dict[str, Any]) -> None:
        self.answer: Answer | None = None
        self._thread = threading.Thread(target=self._call, args=(server, capability, arguments), daemon=True)
        self._thread.start()

    def _call(self, server: Server, capability: str, arguments: dict[str, Any]) -> None:
        try:
            self.answer = server.call(capability, arguments)
        except (urllib.error.URLError, OSError, HTTPException):
            self.answer = None

    def is_under_way(self) -> bool:
        return self._thread.is_alive()

    def wait(self, timeout: float = 240) -> Answer | None:
        self._thread.join(timeout)
        assert not self._thread.is_alive(), "the call did not end"
        return self.answer


def kill_during(
    server: Server,
    capability: str,
    prepare: Callable[[], dict[str, Any]],
    *,
    after: float,
    how: signal.Signals = signal.SIGKILL,
) -> dict[str, Any]:
    """`kill -9` the server while it works on a call, `after` seconds into it, and start it again.

    A machine may be quicker by now than it was when the work was timed: what ended before its kill counts for nothing,
    and the next is killed after half that time.

    Args:
        prepare: makes work that was not done yet; the arguments of the call that does it.

    Returns:
        The arguments of the call that was killed.
    """
    while True:
        print(f"seed {SEED}: {how.name} {after:.3f} s into {capability}")
        arguments = prepare()
        call = Background(server, capability, arguments)
        time.sleep(after)
        server.kill(how)
        answer = call.wait()
        eventually(lambda: not tools_of(server), "the tools of the killed server have ended")
        server.start()
        if answer is None:
            return arguments
        assert answer.status == 200, answer.body
        after /= 2


def timed(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def shortest(works: Iterable[Callable[[], object]]) -> float:
    """The seconds of the fastest, so that a part of that time is surely in the middle of the work."""
    return min(map(timed, works))


def list_proof_volumes(apps: Collection[str]) -> list[str]:
    """Volumes that proofs of backups of these apps have made. Other servers of the machine may be at work on theirs."""
    shown = '{{.Name}} {{.Label "ikoma.proof"}}'
    listed = subprocess.check_output(
        ["docker", "volume", "ls", "--filter", "label=ikoma.proof", "--format", shown], text=True
    )
    return [name for name, app in (line.split() for line in listed.splitlines()) if app in apps]


def half_written(server: Server) -> list[Path]:
    """Temporary files anywhere under the server's folders. PostgreSQL's own are its own business."""
    roots = {server.folder, server.apps, server.backups, server.home}
    deadline = time.monotonic() + 60
    while True:  # a server that runs may be writing one just now
        # Not `rglob`: that fails where PostgreSQL removes a folder that is being read.
        found = [
            Path(folder, name)
            for root in roots
            for folder, _, names in os.walk(root)
            for name in names
            if name.startswith(".ikoma-writing-")
        ]
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


def processes_of(server: Server) -> list[psutil.Process]:
    """All child processes that work in this server's folders or on its PostgreSQL, whoever their parent is now.

    Its proxy is not one of them: it goes on when the server ends, as it should.
    """
    marks = (str(server.folder), f"port={postgres_port(server)} ")
    found = []
    for process in psutil.process_iter(["cmdline", "cwd", "name", "status"]):
        known = " ".join([*(process.info["cmdline"] or []), process.info["cwd"] or "", ""])
        if (
            process.info["status"] != psutil.STATUS_ZOMBIE
            and process.info["name"] != "caddy"
            and process.pid != os.getpid()
            and any(mark in known for mark in marks)
        ):
            found.append(process)
    return found


def tools_of(server: Server) -> list[psutil.Process]:
    """Short-lived programs (Compose, pg_dump) that work for this server."""
    return [process for process in processes_of(server) if process.info["name"] in TOOLS]


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it ended between the two questions
        return False


def postgres_port(server: Server) -> int:
    kept = Path(server.env["IKOMA_STATE"]) / "postgres" / "port"
    return int(kept.read_text()) if kept.is_file() else 0


def postmaster(server: Server) -> psutil.Process:
    pid_file = Path(server.env["IKOMA_STATE"]) / "postgres" / "data" / "postmaster.pid"
    return psutil.Process(int(pid_file.read_text().split("\n", 1)[0]))


def listening(process: psutil.Process) -> set[str]:
    """The addresses a process listens on."""
    return {item.laddr.ip for item in process.net_connections("inet") if item.status == psutil.CONN_LISTEN}


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A disk of its own, as small as said."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0711", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path, *, leaving: int = 0) -> Path:
    """Take the space that is left on a disk, but for so many bytes."""
    filler = folder / "filler"
    if leaving:
        with filler.open("wb") as stream:
            os.posix_fallocate(stream.fileno(), 0, shutil.disk_usage(folder).free - leaving)
        return filler
    with filler.open("wb", buffering=0) as stream:
        for piece in (1 << 16, 1 << 12, 1):
            try:
                while stream.write(b"\0" * piece) == piece:
                    pass
            except OSError:
                continue
    return filler


def is_at(steps: Path, step: str) -> bool:
    """Whether a server that notes its steps (tests/rollouts/self_killing_server.py) has come to this one just now."""
    return steps.exists() and steps.read_text().split("\n")[-2:-1] == [step]
