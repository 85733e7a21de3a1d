"""Servers as forks of one process that has imported `ikoma` already, so that a start does not pay for it again.

A start of `ikoma up` spends most of its processor time on imports, and a run of the tests starts hundreds of servers.
Each worker has one process (the nursery) that imports what a server needs and then waits. Asked for a server, it forks:
the child gets the variables, the log, the session and the arguments of its own, and goes through the same `run()` as
the installed program. It is a process like any other: it is killed, looked at and waited for by its id.

    IKOMA_TESTS_FORK=0 make test    starts every server as a program of its own
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

PROGRAM = str(Path(sys.executable).with_name("ikoma"))
_SCRIPT = [sys.executable, "-P"]
_LINE = 1 << 16


def start(command: Sequence[str], env: Mapping[str, str], log: Path) -> subprocess.Popen[bytes] | ForkedProcess:
    """Start this command as a session of its own; what it says is appended to `log`."""
    if os.environ.get("IKOMA_TESTS_FORK") != "0" and _arguments(command) is not None:
        return _nursery().fork(command, env, log)
    with log.open("ab") as stream:
        return subprocess.Popen(
            command, env=env, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, start_new_session=True
        )


def _arguments(command: Sequence[str]) -> list[str] | None:
    """Return `sys.argv` of such a process; None for a command that only a program of its own can carry out."""
    if command[0] == PROGRAM:
        return list(command)
    return list(command[2:]) if list(command[:2]) == _SCRIPT else None


class ForkedProcess:
    """As much of `subprocess.Popen` as tests use, of a process that another one forked."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._nursery = nursery

    def poll(self) -> int | None:
        if self.returncode is None:
            self._nursery.listen(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.returncode is None:
            left = 3600.0 if deadline is None else deadline - time.monotonic()
            if left < 0:
                raise subprocess.TimeoutExpired(PROGRAM, timeout or 0)
            self._nursery.listen(min(left, 0.1))
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Nursery:
    """The process that forks, as its user sees it. It ends with the socket between them."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            argv = [*_SCRIPT, __file__, str(theirs.fileno())]
            self._process = subprocess.Popen(argv, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        atexit.register(self._end)
        self._lock = threading.RLock()
        self._unread = b""
        self._known: dict[int, ForkedProcess] = {}
        self._born: int | None = None

    def _end(self) -> None:
        self._socket.close()
        self._process.wait()

    def fork(self, command: Sequence[str], env: Mapping[str, str], log: Path) -> ForkedProcess:
        with self._lock:
            wanted = {"command": list(command), "env": dict(env), "log": str(log), "folder": os.getcwd()}
            self._socket.sendall(json.dumps(wanted).encode() + b"\n")
            self._born = None
            while self._born is None:
                self.listen(60)
                assert self._process.poll() is None, "the process that forks servers has ended"
            return self._known[self._born]

    def listen(self, seconds: float) -> None:
        """Hear what became of its children, for at most so long."""
        with self._lock:
            if not select.select([self._socket], [], [], seconds)[0]:
                return
            self._unread += self._socket.recv(_LINE)
            *lines, self._unread = self._unread.split(b"\n")
            for line in lines:
                told = json.loads(line)
                if "code" in told:
                    self._known.pop(told["pid"]).returncode = told["code"]
                else:
                    self._born = told["pid"]
                    self._known[told["pid"]] = ForkedProcess(self, told["pid"])


@cache
def _nursery() -> Nursery:
    return Nursery()


# --- the other side: the process that forks ---


def _serve(asked: socket.socket) -> list[str]:
    """Fork whenever asked; returns in a child only, its command. Its end is the end of whoever asks."""
    waking, woken = socket.socketpair()
    for side in (waking, woken):
        side.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(woken.fileno())
    unread = b""
    while True:
        ready = select.select([asked, waking], [], [])[0]
        if waking in ready:
            waking.recv(_LINE)
            _tell_of_the_dead(asked)
        if asked in ready:
            unread += (heard := asked.recv(_LINE))
            if not heard:
                sys.exit()
            *lines, unread = unread.split(b"\n")
            for line in lines:
                wanted = json.loads(line)
                if (pid := os.fork()) == 0:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    for side in (waking, woken, asked):
                        side.close()
                    _become(wanted)
                    return list(wanted["command"])
                asked.sendall(json.dumps({"pid": pid}).encode() + b"\n")


def _tell_of_the_dead(asked: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        asked.sendall(json.dumps({"pid": pid, "code": os.waitstatus_to_exitcode(status)}).encode() + b"\n")


def _become(wanted: dict[str, Any]) -> None:
    """Take the place in the system that a program started by itself would have."""
    os.setsid()
    log = os.open(wanted["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    os.chdir(wanted["folder"])
    os.environ.clear()
    os.environ.update(wanted["env"])


def _import_all_of_ikoma() -> None:
    import uvloop  # noqa: F401 - the one that the server imports in a function

    import ikoma

    for module in pkgutil.walk_packages(ikoma.__path__, "ikoma."):
        if ".templates" not in module.name:  # those are programs for containers
            importlib.import_module(module.name)
    assert len(list(Path("/proc/self/task").iterdir())) == 1, "only a process of one thread may be forked"


if __name__ == "__main__":
    _import_all_of_ikoma()
    sys.argv = _arguments(_serve(socket.socket(fileno=int(sys.argv[1])))) or []
    if sys.argv[0] == PROGRAM:
        from ikoma.cli import run

        run()
    else:
        runpy.run_path(sys.argv[0], run_name="__main__")
