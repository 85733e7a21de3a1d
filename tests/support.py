"""A real IKOMA server in folders of its own, for tests that talk to it as a user does."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from tests import docker_api, forked_servers
from tests.leftovers import OWNER, remove_leftovers, remove_projects
from tests.prepared_postgres import bring_postgres

IKOMA = Path(sys.executable).with_name("ikoma")
_PORTS = 1000
_SHOWN = 8000
"""Characters of a server's log that a failure shows."""
_FIRST_PORT = 10_000 + _PORTS * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_asked = itertools.count(random.randrange(_PORTS))
DOCKER_HOST = docker_api.HOST


@dataclass
class Answer:
    """An HTTP answer, its body read as JSON."""

    status: int
    body: dict[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def result(self) -> Any:
        assert self.status == 200, f"{self.status}: {self.body}"
        return self.body["result"]

    @property
    def code(self) -> str:
        assert self.status != 200, self.body
        return self.body["code"]


@dataclass
class Server:
    """`ikoma up` as a child process. `folder` holds its log, and all it writes unless `env` says otherwise."""

    folder: Path
    port: int
    env: dict[str, str]
    process: subprocess.Popen[bytes] | forked_servers.ForkedProcess | None = None
    key: str = ""
    command: tuple[str, ...] = (str(IKOMA), "up")
    prepared: bool = False
    """Whether its first start finds a PostgreSQL data folder that was made before."""

    @property
    def apps(self) -> Path:
        return Path(self.env.get("APPS_ROOT", "/srv/apps"))

    @property
    def backups(self) -> Path:
        return Path(self.env.get("BACKUPS_ROOT", "/var/backups/ikoma"))

    @property
    def audit_log(self) -> Path:
        return Path(self.env.get("AUDIT_LOG", "/var/log/ikoma/audit.jsonl"))

    @property
    def home(self) -> Path:
        return Path(self.env.get("IKOMA_HOME", "/opt/ikoma"))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, timeout: float = 180) -> None:
        state = Path(self.env.get("IKOMA_STATE", "/var/lib/ikoma"))
        if self.prepared and not state.exists():
            bring_postgres(state)
        self.process = forked_servers.start(self.command, self.env, self.folder / "server.log")
        deadline = time.monotonic() + timeout
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=5):
                    break
            except (urllib.error.URLError, OSError):
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"the server did not start:\n{self.log()}") from None
                time.sleep(0.02)
        self.key = (self.home / "api-key.txt").read_text().strip()

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to stop, and wait; its exit code. SIGINT also ends its proxy."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(how)
        code = self.process.wait(timeout=90)
        self.process = None
        return code

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        """`kill -9`, as the kernel's OOM killer would; SIGABRT is how a process ends that finds itself broken."""
        assert self.process is not None
        self.process.send_signal(how)
        assert self.process.wait() == -how
        self.process = None

    def log(self) -> str:
        return (self.folder / "server.log").read_text(errors="replace")

    def call(
        self,
        capability: str,
        arguments: Mapping[str, Any] | bytes | None = None,
        *,
        key: str | None = "",
        role: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 300,
    ) -> Answer:
        """POST /execute/<capability>. `key` None sends none; bytes are sent as they are."""
        body = arguments if isinstance(arguments, bytes) else json.dumps(arguments or {}).encode()
        request = urllib.request.Request(f"{self.url}/execute/{capability}", data=body, method="POST")
        if key is not None:
            request.add_header("X-Api-Key", key or self.key)
        if role is not None:
            request.add_header("X-Role", role)
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        return fetch(request, timeout)

    def do(self, capability: str, arguments: Mapping[str, Any] | None = None, **more: Any) -> Any:
        """Call a capability that must succeed; its result."""
        answer = self.call(capability, arguments, **more)
        assert answer.status != 500, f"{answer.body}\n{self.log()[-_SHOWN:]}"
        return answer.result

    def get(self, path: str, timeout: float = 120) -> Answer:
        return fetch(urllib.request.Request(self.url + path, headers={"X-Api-Key": self.key}), timeout)

    def audit(self) -> list[dict[str, Any]]:
        lines = self.audit_log.read_text().split("\n")  # not `splitlines`: texts in them may hold others' ends of lines
        return [json.loads(line) for line in lines[:-1]]  # what has no end yet is under way

    def audited(self, before: int, **fields: Any) -> dict[str, Any]:
        """The newest entry behind the first `before` that has these fields, once there is one.

        Not simply the last: what a server does by itself is on record as well.
        """
        found: list[dict[str, Any]] = []

        def is_there() -> bool:
            found[:] = [entry for entry in self.audit()[before:] if fields.items() <= entry.items()]
            return bool(found)

        eventually(is_there, f"an entry with {fields}")
        return found[-1]

    def login(self, app: str) -> psycopg.Connection[tuple[Any, ...]]:
        """A session in an app's database, past IKOMA, as the app's own role."""
        kept = json.loads((self.apps / app / ".ikoma" / "database.json").read_text())
        port = (Path(self.env["IKOMA_STATE"]) / "postgres" / "port").read_text()
        return psycopg.connect(
            host="127.0.0.1", port=port, dbname=kept["database"], user=kept["role"], password=kept["password"]
        )

    def cli(self, *arguments: str, timeout: float = 120, **more: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [IKOMA, *arguments], env=self.env, capture_output=True, text=True, timeout=timeout, check=False, **more
        )


def fetch(request: urllib.request.Request, timeout: float = 120) -> Answer:
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            return Answer(response.status, _parsed(response.read()), dict(response.headers))
    except urllib.error.HTTPError as error:
        return Answer(error.code, _parsed(error.read()), dict(error.headers))


def eventually(holds: Callable[[], object], what: str = "it holds", seconds: float = 120) -> None:
    """Wait until it holds; the deadline is generous, since nobody waits for it where all is well."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)  # what is asked costs others time


def paths_below(*roots: Path) -> list[Path]:
    """All files and folders there; not by `rglob`, which fails where a server removes a folder that is being read."""
    return [Path(folder, name) for root in roots for folder, inner, files in os.walk(root) for name in (*inner, *files)]


@contextmanager
def server(*, command: Sequence[str] = (), **settings: str) -> Iterator[Server]:
    """A started server; it is stopped and all it made is removed at the end."""
    made = make_server(**settings)
    made.command = tuple(command) or made.command
    try:
        made.start()
        yield made
    finally:
        remove(made)


def make_server(**settings: str) -> Server:
    remove_leftovers()
    folder = Path(tempfile.mkdtemp(prefix="ikoma-test-"))
    folder.chmod(0o711)  # PostgreSQL's own user must pass through
    (folder / OWNER).write_text(str(os.getpid()))
    port = free_port()
    env = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/root"),
        "LANG": "C.UTF-8",
        "DOCKER_HOST": DOCKER_HOST,
        "APPS_ROOT": str(folder / "apps"),
        "IKOMA_HOME": str(folder / "home"),
        "IKOMA_STATE": str(folder / "state"),
        "AUDIT_LOG": str(folder / "audit.jsonl"),
        "BACKUPS_ROOT": str(folder / "backups"),
        "HTTP_PORT": str(port),
        "PROXY_HOST": "127.0.0.1",
        "PROXY_HTTP_PORT": str(free_port()),
        "PROXY_HTTPS_PORT": "0",
        "POSTGRES_PORT": str(free_port()),
        "RATE_LIMIT_MAX_REQUESTS": "1000000",
        "NIGHTLY_BACKUPS": "false",
        **settings,
    }
    return Server(folder, port, env, prepared="POSTGRES_HOST" not in settings)


def remove(made: Server) -> None:
    if made.process is None:  # a crash may have left its PostgreSQL: a start takes it over, a stop ends it
        made.start()
    names = _apps_of(made)
    made.stop(signal.SIGINT)
    remove_projects(names)
    shutil.rmtree(made.folder)


def _apps_of(made: Server) -> set[str]:
    """The apps that are there, and those that were made there and removed: their images are still in Docker."""
    names = {path.name for path in made.apps.iterdir() if path.is_dir() and not path.name.startswith(".")}
    with suppress(OSError, ValueError, KeyError):  # some tests spoil the log
        for entry in made.audit() if made.audit_log.is_file() else ():
            if entry["capability"] == "apps.init" and entry["result"] == "success":
                names.add(entry["arguments"]["appName"])
    return names


def stop_apps(server: Server) -> None:
    """Take every app of a server down."""
    if server.process is not None:
        for item in server.do("apps.list")["apps"]:
            server.call("deploy.down", {"appName": item["name"]})


def free_port() -> int:
    """A port that nobody listens on. Workers of one run have ranges of their own, below those that clients get."""
    for _ in range(_PORTS):
        port = _FIRST_PORT + next(_asked) % _PORTS
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("", port))
            return port
    raise AssertionError("no port is free")


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        parsed: dict[str, Any] = json.loads(body)
    except json.JSONDecodeError:
        return {"text": body.decode(errors="replace")}
    return parsed
