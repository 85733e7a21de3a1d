"""World of the measurements: a server in folders of its own, and an app with a health path and a database."""

from __future__ import annotations

import os
import secrets
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ikoma.app_folder import App
from ikoma.apps.database import credentials
from ikoma.engines.compose.argv import find_compose_program
from ikoma.model import AppName
from ikoma.ports.databases import Credentials
from ikoma.postgres.server.tools import find_bundled
from tests.apps import make_app
from tests.support import Server
from tests.support import server as started_server

CLIENTS = 16


@dataclass
class World:
    """A started server. `rounds` is how often each thing is measured, `seconds` how long a load lasts.

    `is_quick`: both are less, and what is measured may be smaller too.
    """

    server: Server
    rounds: int
    seconds: float
    is_quick: bool = False
    token: str = field(default_factory=lambda: secrets.token_hex(3))
    _app: str | None = None

    def name(self, what: str) -> str:
        """An app's name that nothing else on this machine's Docker has."""
        return f"bench-{what}-{self.token}"

    def app(self) -> str:
        """A deployed, healthy app with a database, a migration and a backup."""
        if self._app is None:
            self._app = self.name("app")
            app = {"appName": self._app}
            folder = make_app(self.server, self._app)
            (folder / "migrations" / "001_things.sql").write_text("CREATE TABLE things (id int PRIMARY KEY);\n")
            for capability in ("db.create", "db.migrate", "deploy.up", "db.backup"):
                self.server.do(capability, app)
            assert self.server.do("artifact.verify_release", app)["verified"] is True
        return self._app

    def database(self, what: str) -> tuple[str, Credentials]:
        """An app with an empty database of its own, not deployed: its name, and the way into the database."""
        name = self.name(what)
        self.server.do("apps.init", {"appName": name})
        self.server.do("db.create", {"appName": name})
        return name, credentials.require(App(AppName(name), self.server.apps / name))

    def connection(self, owned: Credentials) -> dict[str, str]:
        """Variables by which psql and pg_dump get into a database."""
        return {
            "PATH": os.environ["PATH"],
            "PGHOST": "127.0.0.1",
            "PGPORT": (Path(self.server.env["IKOMA_STATE"]) / "postgres" / "port").read_text(),
            "PGUSER": owned.role,
            "PGPASSWORD": owned.password.reveal(),
            "PGDATABASE": owned.database,
        }

    @property
    def pid(self) -> int:
        assert self.server.process is not None
        return self.server.process.pid


@contextmanager
def world(*, quick: bool) -> Iterator[World]:
    os.environ["IKOMA_TESTS_FORK"] = "0"  # what is measured is the program as a user starts it
    with started_server(RATE_LIMIT_MAX_REQUESTS="1000000000") as server:
        yield World(server, rounds=2 if quick else 5, seconds=1 if quick else 3, is_quick=quick)


def postgres_program(name: str) -> str:
    """One of PostgreSQL's own programs, of the server's version."""
    return str(find_bundled() / "bin" / name)


def compose(*arguments: str) -> list[str]:
    """`docker compose` as a person or another control plane calls it."""
    return ["docker", "compose", *arguments]


def docker_environment(server: Server) -> dict[str, str]:
    """Variables for `docker compose` that make the Compose that IKOMA uses its plugin."""
    configuration = server.folder / "docker"
    plugin = configuration / "cli-plugins" / "docker-compose"
    if not plugin.is_symlink():
        plugin.parent.mkdir(parents=True)
        plugin.symlink_to(find_compose_program())
    return {
        "PATH": os.environ["PATH"],
        "HOME": server.env["HOME"],
        "DOCKER_HOST": server.env["DOCKER_HOST"],
        "DOCKER_CONFIG": str(configuration),
    }


def took(work: Callable[[], object]) -> float:
    """Seconds that some work took."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def ratio(ours: Sequence[float], beside: Sequence[float]) -> float:
    return statistics.median(ours) / statistics.median(beside)


def status_field(pid: int, name: str) -> int:
    """A size from /proc/PID/status, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def proportional_memory(pid: int) -> int:
    """A process's share of memory (PSS), in bytes."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def processor_seconds(pid: int) -> float:
    """The processor time that a process has taken, in user and system mode."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
