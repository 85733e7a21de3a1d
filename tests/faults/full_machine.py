"""A server with an app, on a machine whose disks are small and can be filled one by one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyrage

from tests.apps import make_app
from tests.faults.server_observations import (
    Background,
    fill,
    half_written,
    is_at,
    list_proof_volumes,
    named,
    small_disk,
)
from tests.faults.test_bringing_back import KEEPS, TABLES, WITH_DATA, note_of, passing
from tests.rollouts.self_killing_server import COMMAND
from tests.support import Answer, Server, eventually
from tests.support import server as started_server

APP = named("brimful")
DUMP, WHOLE = f"{APP}-kept.sql", f"{APP}-kept.backup"


@dataclass
class Machine:
    """A server whose apps, backups and state are each on a small disk of their own."""

    server: Server
    apps: Path
    backups: Path
    state: Path

    def call(self, capability: str, **arguments: Any) -> Answer:
        return self.server.call(capability, {"appName": APP, **arguments})

    def do(self, capability: str, **arguments: Any) -> Any:
        return self.server.do(capability, {"appName": APP, **arguments})


@contextmanager
def open_machine(backups: str = "256m") -> Iterator[Machine]:
    """A machine with one app, which has a dump and a whole backup."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)  # PostgreSQL's own user passes through
        with _open(Path(folder), backups) as made:
            yield made


@contextmanager
def _open(place: Path, size: str) -> Iterator[Machine]:
    (place / "copies").mkdir()
    identity = pyrage.x25519.Identity.generate()
    (place / "age.txt").write_text(str(identity))
    (place / "age.txt").chmod(0o600)
    with (
        small_disk(place / "apps", "1g") as apps,
        small_disk(place / "backups", size) as backups,
        small_disk(place / "state", "1g") as state,
        started_server(
            command=COMMAND,
            APPS_ROOT=str(apps / "apps"),
            BACKUPS_ROOT=str(backups / "backups"),
            IKOMA_STATE=str(state / "state"),
            OFFSITE_URL=f"file://{place}/copies",
            OFFSITE_AGE_RECIPIENTS=str(identity.to_public()),
            OFFSITE_AGE_IDENTITY_FILE=str(place / "age.txt"),
            POINT_IN_TIME="true",
        ) as server,
    ):
        made = Machine(server, apps, backups, state)
        folder = make_app(server, APP, compose=WITH_DATA, command=KEEPS)
        (folder / "big").write_bytes(b"x" * (2 << 20))
        made.do("db.create")
        (folder / "migrations" / "001_t.sql").write_text(TABLES)
        made.do("deploy.up")
        made.do("db.backup", backupName=DUMP)
        made.do("backup.create", backupName=WHOLE)
        yield made


def look(machine: Machine) -> tuple[Any, ...]:
    """The app as it is, once it serves."""
    eventually(lambda: is_healthy(machine), "the app serves")
    rows = machine.do("db.query", sql="SELECT count(*), md5(string_agg(t::text, ',' ORDER BY id)) FROM t")["rows"]
    files = sorted((path.name, path.stat().st_size) for path in (machine.server.apps / APP).iterdir() if path.is_file())
    return rows, note_of(APP), files


def is_healthy(machine: Machine) -> bool:
    return bool(machine.call("apps.health").body.get("result", {}).get("health") == "healthy")


def names(machine: Machine) -> set[str]:
    return {item["name"] for item in machine.do("backup.list")["backups"] if "here" in item["places"]}


def require_full(answer: Answer | None) -> None:
    assert answer is not None
    assert (answer.status, answer.code) == (503, "disk_full"), answer.body
    assert answer.body["hint"]


def require_clean(machine: Machine) -> None:
    server = machine.server
    assert half_written(server) == []
    assert passing(server) == []
    assert list_proof_volumes([APP]) == []
    assert not [path.name for path in server.backups.iterdir() if path.name.startswith(".ikoma")]
    own = server.apps / APP / ".ikoma"
    patterns = ("restoring*", "rehearsal.sql", "restored-folder-*")
    assert not [path.name for pattern in patterns for path in own.glob(pattern)]


def during(machine: Machine, disk: Path, step: str, capability: str, **arguments: Any) -> Answer | None:
    """A call, while which a disk fills at a step of it; there is room again afterwards."""
    answer, filler = fill_during(machine, disk, step, capability, **arguments)
    filler.unlink()
    return answer


def fill_during(
    machine: Machine, disk: Path, step: str, capability: str, **arguments: Any
) -> tuple[Answer | None, Path]:
    """A call, while which a disk fills at a step of it, and stays full."""
    state = Path(machine.server.env["IKOMA_STATE"])
    (state / "wait-at").write_text(step)
    under_way = Background(machine.server, capability, {"appName": APP, **arguments})
    eventually(partial(is_at, state / "steps", step), f"it is at: {step}")
    filler = fill(disk)
    (state / "wait-at").unlink()
    return under_way.wait(), filler
