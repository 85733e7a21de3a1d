"""Each night every app and then the server is backed up, by one server of a state, and few are kept."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ikoma.apps.app import Apps
from ikoma.apps.backups.folder import AppBackup, AppBackups
from ikoma.apps.recovery.nightly import NAME, NightlyBackups
from ikoma.apps.schedules.runs import Outcome, ScheduleRun, ScheduleRuns
from ikoma.apps.signing import BackupKey
from ikoma.errors import BackupFailed
from ikoma.kernel.operations.journal import Journal
from ikoma.kernel.state.store import Store
from ikoma.model import AppName
from ikoma.moments import format_moment

FIRST = datetime(2026, 11, 1, 4, tzinfo=UTC)


@dataclass
class Machine:
    """Two apps, and a call that leaves a small backup."""

    root: Path
    made: list[str] = field(default_factory=list)
    failing: str = ""

    def __post_init__(self) -> None:
        for name in ("one", "two", "two--branch"):
            (self.root / "apps" / name / ".ikoma").mkdir(parents=True)
        (self.root / "apps" / "two--branch" / ".ikoma" / "preview.json").write_text("{}")
        store = Store(self.root / "state.db")
        self.runs = ScheduleRuns(store, Journal(store))
        self.backups = AppBackups(self.root / "backups", BackupKey(self.root / "backups.key"))

    def nightly(self) -> NightlyBackups:
        return NightlyBackups(Apps(self.root / "apps"), self.backups, self.runs, self.perform)

    async def perform(self, app: AppName, run: ScheduleRun) -> Mapping[str, Any]:
        if app == self.failing:
            raise BackupFailed("The disk of this test is full.")
        self.made.append(app)
        name = self.backups.reserve(app, None)
        with self.backups.work() as place:
            now = format_moment(datetime.now(UTC), "milliseconds")
            self.backups.keep(place, AppBackup(app, name, now, "0", 0, {}, {}, proven_at=now))
        return {"backups": [{"name": name}], "message": f"{name} is made."}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_night_has_each_app_once_and_the_server_last(machine: Machine) -> None:
    for _ in range(2):  # two servers of one state
        asyncio.run(machine.nightly().make_all(FIRST))
    assert machine.made == ["one", "two", "ikoma"]


def test_the_last_nights_are_kept_and_what_people_made(machine: Machine) -> None:
    kept = machine.backups.reserve(AppName("one"), None)
    with machine.backups.work() as place:
        machine.backups.keep(place, AppBackup("one", kept, "2020-01-01T00:00:00.000Z", "0", 0, {}, {}))
    for night in range(5):
        asyncio.run(machine.nightly().make_all(FIRST + timedelta(days=night)))
    assert len(machine.backups.list_of(AppName("two"))) == 3
    names = [item.name for item in machine.backups.list_of(AppName("one"))]
    assert len(names) == 4
    assert kept in names


def test_an_app_that_fails_is_told_and_the_others_go_on(machine: Machine) -> None:
    machine.failing = "one"
    asyncio.run(machine.nightly().make_all(FIRST))
    assert machine.made == ["two", "ikoma"]
    [run] = machine.runs.list_of("one", NAME, 1)
    assert (run.outcome, run.message) == (Outcome.FAILED, "The disk of this test is full.")
