"""Each disk full while each kind of work writes to it: told with a hint, nothing half-written, then done."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyrage
import pytest

from tests.apps import make_app
from tests.faults.server_observations import Background, fill, half_written, list_proof_volumes, named, small_disk
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


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)  # PostgreSQL's own user passes through
        with _machine(Path(folder)) as made:
            yield made


@contextmanager
def _machine(place: Path) -> Iterator[Machine]:
    (place / "copies").mkdir()
    identity = pyrage.x25519.Identity.generate()
    (place / "age.txt").write_text(str(identity))
    (place / "age.txt").chmod(0o600)
    with (
        small_disk(place / "apps", "1g") as apps,
        small_disk(place / "backups", "256m") as backups,
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
    left = ("restoring.json", "restoring.sql", "restoring-app.json", "restoring-app-back.json", "rehearsal.sql")
    assert not [name for name in left if (own / name).exists()]
    assert not list(own.glob("restored-folder-*"))


def during(machine: Machine, disk: Path, step: str, capability: str, **arguments: Any) -> Answer | None:
    """A call, while which a disk fills at a step of it."""
    state = Path(machine.server.env["IKOMA_STATE"])
    (state / "wait-at").write_text(step)
    under_way = Background(machine.server, capability, {"appName": APP, **arguments})
    eventually(partial(is_at, state / "steps", step), f"it is at: {step}")
    filler = fill(disk)
    (state / "wait-at").unlink()
    answer = under_way.wait()
    filler.unlink()
    return answer


def is_at(steps: Path, step: str) -> bool:
    return steps.exists() and steps.read_text().split("\n")[-2:-1] == [step]


# --- backups -----------------------------------------------------------------------------------------------


def test_a_backup_without_room_for_it_or_for_its_proof(machine: Machine) -> None:
    before, known = look(machine), names(machine)
    filler = fill(machine.backups)
    for capability in ("db.backup", "backup.create"):
        require_full(machine.call(capability))
    require_full(machine.call("backup.create", appName="ikoma"))
    filler.unlink()
    assert names(machine) == known
    filler = fill(machine.state, leaving=150 << 20)
    for capability, end in (("db.backup", "sql"), ("backup.create", "backup")):
        told = machine.call(capability, backupName=f"{APP}-unproven.{end}")
        require_full(told)
        assert f"{APP}-unproven.{end} is kept without a proof" in told.body["error"]
    for name in (DUMP, WHOLE):
        require_full(machine.call("backup.verify", backupName=name))
    require_full(machine.call("db.migrate", sql="CREATE TABLE tried (n int)", dryRun=True))
    require_full(machine.call("db.restore", backupName=DUMP))
    filler.unlink()
    require_clean(machine)
    assert look(machine) == before
    for end in ("sql", "backup"):
        assert machine.do("backup.verify", backupName=f"{APP}-unproven.{end}")["backups"][0]["proven"]
        machine.do("backup.delete", backupName=f"{APP}-unproven.{end}")
    for capability in ("db.backup", "backup.create"):
        machine.do(capability)
    machine.server.do("backup.create", {"appName": "ikoma"})
    require_clean(machine)


def test_a_copy_that_is_fetched_comes_whole_or_not_at_all(machine: Machine, tmp_path: Path) -> None:
    before = look(machine)
    root = machine.server.backups
    for name in (DUMP, WHOLE):
        for path in (root / name, root / f"{name}.json"):
            if path.exists():
                shutil.move(path, tmp_path / path.name)
    assert not {DUMP, WHOLE} & names(machine)
    filler = fill(machine.backups)
    for capability, name in (("db.restore", DUMP), ("apps.restore", WHOLE), ("backup.verify", WHOLE)):
        require_full(machine.call(capability, backupName=name))
    assert not {DUMP, WHOLE} & names(machine)
    filler.unlink()
    require_clean(machine)
    assert look(machine) == before
    machine.do("db.restore", backupName=DUMP)
    machine.do("apps.restore", backupName=WHOLE)
    assert {DUMP, WHOLE} <= names(machine)
    require_clean(machine)


# --- apps --------------------------------------------------------------------------------------------------


def test_an_app_that_finds_no_room_in_the_trash_stays_and_goes_later(machine: Machine) -> None:
    before = look(machine)
    filler = fill(machine.apps)
    require_full(machine.call("apps.remove"))
    filler.unlink()
    assert look(machine) == before
    assert half_written(machine.server) == []
    machine.do("apps.remove")
    filler = fill(machine.state, leaving=1 << 20)
    refused = machine.call("apps.restore")
    require_full(refused)
    assert not (machine.server.apps / APP).exists()
    filler.unlink()
    filler = fill(machine.apps)
    require_full(machine.call("apps.restore"))
    filler.unlink()
    machine.do("apps.restore")
    assert look(machine) == before
    assert APP not in [entry["app"] for entry in machine.server.do("trash.list", {})["entries"]]
    require_clean(machine)


@pytest.mark.parametrize("disk", ["backups", "apps"])
@pytest.mark.timeout(900)
def test_an_app_is_taken_back_where_a_restore_of_it_finds_no_room(machine: Machine, disk: str) -> None:
    machine.do("db.seed", sql=f"UPDATE t SET word = '{disk}' WHERE id > 100")
    before = look(machine)
    answer = during(machine, getattr(machine, disk), "whole: noted", "apps.restore", backupName=WHOLE)
    require_full(answer)
    eventually(lambda: not (machine.server.apps / APP / ".ikoma" / "restoring-app.json").exists(), "it is settled")
    assert look(machine) == before
    require_clean(machine)
    machine.do("apps.restore", backupName=WHOLE)
    assert look(machine)[0] != before[0]
    require_clean(machine)
