"""Each disk full while each kind of work writes to it: told with a hint, nothing half-written, then done."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.full_machine import APP, DUMP, WHOLE, Machine, look, names, open_machine, require_clean, require_full
from tests.faults.server_observations import fill, half_written


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with open_machine() as made:
        yield made


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


# --- the server's own --------------------------------------------------------------------------------------


def test_without_room_for_state_nothing_is_changed_and_reads_go_on(machine: Machine) -> None:
    server = machine.server
    before = look(machine)
    keys = server.do("keys.list")["keys"]
    filler = fill(machine.state)
    answers = [server.call("keys.create", {"name": f"unwritten-{number}", "role": "observer"}) for number in range(40)]
    refused = [number for number, answer in enumerate(answers) if answer.status != 200]
    assert refused, "what was allocated already has been used up"
    for number in refused:
        require_full(answers[number])
    assert server.do("platform.check")
    assert server.get("/health").status == 200
    there = {item["name"] for item in server.do("keys.list")["keys"]}
    made = {f"unwritten-{number}" for number in range(40) if number not in refused}
    assert there == {item["name"] for item in keys} | made
    filler.unlink()
    server.do("keys.create", {"name": f"unwritten-{refused[0]}", "role": "observer"})
    assert look(machine) == before
    assert server.do("audit.verify")["valid"]
