"""A machine of a test's own, as far as Linux has one: names, processes, network, files, Docker apart from this one's.

Its programs are this machine's, or those of another Debian; `/opt`, `/srv`, `/var` and `/usr/local` are empty. What it
changes is gone with it. It has no network but loopback, and no systemd.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]
NAMESPACES = ("--mount", "--net", "--pid", "--uts", "--ipc")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PARTS = ("install.sh", "Makefile", "README.md", "LICENSE", "pyproject.toml")
FOLDERS = ("deploy", "scripts", "requirements", "src", "examples")


@dataclass(frozen=True)
class Machine:
    """The first process has the id `init` here; `/ikoma` on it is the folder `ikoma` of `folder`."""

    folder: Path
    init: int

    def command(self, *argv: str, **variables: str) -> list[str]:
        """Command prefix that runs there, as root in a shell just opened."""
        env = {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8", "TERM": "dumb", **variables}
        enter = ["nsenter", f"--target={self.init}", *NAMESPACES, "--root", "--wd"]
        return [*enter, "env", "-i", *(f"{name}={value}" for name, value in env.items()), *argv]

    def run(self, *argv: str, timeout: float = 600, **more: Any) -> subprocess.CompletedProcess[str]:
        """The command's output, with what it says on the error stream among it."""
        variables: Mapping[str, str] = more.pop("variables", {})
        more = {"stdin": subprocess.DEVNULL} | more if "input" not in more else more
        return subprocess.run(
            self.command(*argv, **variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
            **more,
        )

    def do(self, *argv: str, **more: Any) -> str:
        """Run a command that must succeed; its output."""
        done = self.run(*argv, **more)
        assert done.returncode == 0, f"{argv}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def path(self, place: str) -> Path:
        """A file of the machine, to be read from here."""
        return Path(f"/proc/{self.init}/root{place}")

    def start_docker(self, **settings: Any) -> None:
        """Start it, with these settings in its file."""
        self.do("mkdir", "-p", "/etc/docker")
        self.do("tee", "/etc/docker/daemon.json", input=json.dumps(settings))
        self.do("sh", "-c", "setsid --fork dockerd </dev/null >/var/log/dockerd.log 2>&1")
        deadline = time.monotonic() + 180
        while self.run("docker", "version").returncode != 0:
            assert time.monotonic() < deadline, self.path("/var/log/dockerd.log").read_text()[-2000:]
            time.sleep(0.2)

    def say_memory(self, megabytes: int) -> None:
        """Have `getconf` tell of so much memory."""
        pages = megabytes * 256
        script = f'#!/bin/sh\ncase $1 in _PHYS_PAGES) echo {pages} ;; *) exec /usr/bin/getconf "$@" ;; esac\n'
        self.put("/usr/local/bin/getconf", script)

    def put(self, place: str, script: str) -> None:
        """Have a program there."""
        self.do("sh", "-c", 'cat >"$1" && chmod 755 "$1"', "sh", place, input=script)

    def load(self, tags: Sequence[str]) -> None:
        """Bring images of this machine's Docker there."""
        with subprocess.Popen(["docker", "save", *tags], stdout=subprocess.PIPE) as saving:
            self.do("docker", "load", "-q", stdin=saving.stdout)
        assert saving.returncode == 0


@contextmanager
def machine(folder: Path, system: Path | None = None, before: Sequence[str] = ()) -> Iterator[Machine]:
    """A started machine.

    Args:
        system: the root of another Debian.
        before: a command that starts the one given to it, with limits for instance.
    """
    (folder / "ikoma").mkdir(parents=True, exist_ok=True)
    script = Path(__file__).with_name("machine.sh")
    log = (folder / "machine.log").open("wb")
    argv = [*before, "unshare", *NAMESPACES, "--fork", "--kill-child", "bash", str(script), str(folder)]
    process = subprocess.Popen(
        [*argv, *([str(system)] if system else [])],
        env={**os.environ, "PYTHON": sys.base_prefix},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
    )
    log.close()
    try:
        yield Machine(folder, _first_process(process, folder))
    finally:
        process.send_signal(signal.SIGKILL)  # and with it all that runs there
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def memory_limit(megabytes: int) -> Iterator[tuple[list[str], str]]:
    """A group of processes that together have no more memory: what starts a command in it, and its name for Docker."""
    name = f"ikoma-test-{os.getpid()}"
    one_tree = not Path("/sys/fs/cgroup/memory").is_dir()
    root = Path("/sys/fs/cgroup") if one_tree else Path("/sys/fs/cgroup/memory")
    group = root / name
    group.mkdir()
    try:
        if one_tree:
            (root / "cgroup.subtree_control").write_text("+memory +pids")
            (group / "cgroup.subtree_control").write_text("+memory +pids")
        (group / ("memory.max" if one_tree else "memory.limit_in_bytes")).write_text(str(megabytes << 20))
        (group / "own").mkdir()
        yield ["sh", "-c", f'echo $$ >{group}/own/cgroup.procs && exec "$@"', "sh"], f"/{name}"
    finally:
        for found in (group, *Path("/sys/fs/cgroup").glob(f"*/{name}")):
            _remove_group(found)


def _remove_group(group: Path) -> None:
    deadline = time.monotonic() + 60
    for folder, _, _ in os.walk(group, topdown=False):
        while True:
            try:
                os.rmdir(folder)
                break
            except FileNotFoundError:
                break
            except OSError:  # its last processes are on their way out
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)


def _first_process(process: subprocess.Popen[bytes], folder: Path) -> int:
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(process.pid).children():
                if Path(f"/proc/{child.pid}/root/run/ready").exists():
                    return child.pid
        time.sleep(0.05)
    raise AssertionError((folder / "machine.log").read_text())


def put_checkout(folder: Path, wheels: Path) -> None:
    """Put there what a person has after `git clone`, and wheels beside it, in place of a package index."""
    for name in PARTS:
        shutil.copy2(ROOT / name, folder)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(wheels, folder / "wheels", copy_function=_link)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
