"""The scheduler on a real state.db and real folders; only the call that a schedule makes is handed in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from ikoma.apps.app import Apps
from ikoma.apps.database.backups import Backups
from ikoma.apps.schedules.runs import Outcome, ScheduleRun, ScheduleRuns
from ikoma.apps.schedules.schedule import (
    NIGHTLY,
    Schedule,
    read_schedules,
    remove_schedule,
    write_schedule,
)
from ikoma.apps.schedules.scheduler import Perform, Scheduler
from ikoma.apps.signing import BackupKey
from ikoma.errors import IkomaError
from ikoma.kernel.operations.journal import Journal, Record
from ikoma.kernel.state.store import Store
from ikoma.model import AppName
from ikoma.moments import format_moment
from ikoma.ports.databases import Databases

SHOP = AppName("shop")


class OwnDatabases:
    """Says which apps have a database."""

    def __init__(self, *names: str) -> None:
        self._names = names

    async def owns(self, name: str) -> bool:
        return name in self._names


class Place:
    """A state and an app's folder, and what schedules did there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.apps = Apps(folder / "apps")
        (folder / "apps" / "shop").mkdir(parents=True)
        self.app = self.apps.locate(SHOP)
        self.store = Store(folder / "state.db")
        self.runs = ScheduleRuns(self.store, Journal(self.store))
        self.done: list[str] = []
        self._seen = False

    def scheduler(self, perform: Perform | None = None, *, store: Store | None = None, owns: str = "") -> Scheduler:
        runs = self.runs if store is None else ScheduleRuns(store, Journal(store))
        databases = cast(Databases, OwnDatabases(owns))
        backups = Backups(self.folder / "backups", BackupKey(self.folder / "backups.key"))
        return Scheduler(self.apps, databases, backups, runs, perform or self.note)

    async def note(self, app: AppName, run: ScheduleRun, schedule: Schedule) -> Mapping[str, Any]:
        self.done.append(schedule.name)
        return {"exitCode": 0}

    def set(self, **more: Any) -> None:
        given = {"name": "report", "cron": "0 3 * * *", "command": ("true",), "set_at": ago(days=3), **more}
        write_schedule(self.app, Schedule(**given))

    def look(self, **more: str) -> None:
        """Have a scheduler look at the app, whatever it finds: at a later one, it finds something to do."""
        later = self.apps.locate(AppName("zoo"))
        later.path.mkdir()
        write_schedule(later, Schedule(name="seen", cron="0 3 * * *", command=("true",), set_at=ago(days=3)))
        work(self.scheduler(self._note_seen, store=self.store, **more), until=lambda: self._seen)

    async def _note_seen(self, app: AppName, run: ScheduleRun, schedule: Schedule) -> Mapping[str, Any]:
        if schedule.name == "seen":
            self._seen = True
            return {"exitCode": 0}
        return await self.note(app, run, schedule)

    def outcomes(self) -> list[tuple[Outcome, bool]]:
        return [(run.outcome, run.late) for run in self.runs.list_of("shop", "report", 9)]


def ago(**more: float) -> str:
    return format_moment(datetime.now(UTC) - timedelta(**more))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def work(*schedulers: Scheduler, until: Callable[[], object]) -> None:
    async def together() -> None:
        tasks = [asyncio.ensure_future(item.run()) for item in schedulers]
        async with asyncio.timeout(60):
            while not until() and not any(task.done() for task in tasks):
                await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task

    asyncio.run(together())


def test_what_was_missed_is_made_up_for_once(place: Place) -> None:
    place.set()
    work(place.scheduler(), until=lambda: place.outcomes() and place.outcomes()[0][0] is Outcome.SUCCEEDED)
    assert place.done == ["report"]
    assert place.outcomes() in ([(Outcome.SUCCEEDED, True)], [(Outcome.SUCCEEDED, False)])
    place.look()
    assert place.done == ["report"]


def test_what_is_not_to_be_made_up_for_is_told_as_missed(place: Place) -> None:
    minute = (datetime.now(UTC) - timedelta(hours=2)).strftime("%M %H * * *")
    place.set(cron=minute, catch_up=False)
    work(place.scheduler(), until=place.outcomes)
    assert place.outcomes() == [(Outcome.MISSED, True)]
    assert place.done == []


def test_a_schedule_is_not_due_for_the_time_before_it_was_set(place: Place) -> None:
    place.set(set_at=ago())
    place.look()
    assert place.outcomes() == []


def test_of_two_servers_one_does_it(place: Place) -> None:
    other = Store(place.folder / "state.db")
    place.set()
    both = place.scheduler(), place.scheduler(store=other)
    work(*both, until=lambda: place.outcomes() and place.outcomes()[0][0] is Outcome.SUCCEEDED)
    assert place.done == ["report"]
    assert len(place.outcomes()) == 1


def test_a_run_does_not_begin_beside_its_former_one(place: Place) -> None:
    place.set()
    former = ScheduleRun(app="shop", schedule="report", due=ago(days=2), operation="f" * 24, began_at=ago(days=2))
    journal = Journal(place.store)
    journal.begin(Record("f" * 24, "apps.run", "shop", "schedule:shop:report", "schedule:report", {}, "", None))
    asyncio.run(place.runs.claim(former))
    work(place.scheduler(), until=lambda: len(place.outcomes()) > 1)
    assert [outcome for outcome, _ in place.outcomes()] == [Outcome.SKIPPED, Outcome.RUNNING]
    assert place.done == []


def test_a_run_whose_server_was_killed_is_told_as_cut_off_and_not_begun_again(place: Place) -> None:
    place.set()

    async def never(app: AppName, run: ScheduleRun, schedule: Schedule) -> Mapping[str, Any]:
        place.done.append("begun")
        await asyncio.sleep(60)
        return {}

    work(place.scheduler(never), until=lambda: place.done)
    assert place.outcomes()[0][0] is Outcome.RUNNING
    work(place.scheduler(store=place.store), until=lambda: place.outcomes()[0][0] is not Outcome.RUNNING)
    assert place.outcomes()[0][0] is Outcome.CUT_OFF
    assert place.done == ["begun"]


def test_failures_are_told_in_the_words_of_the_call(place: Place) -> None:
    place.set()

    async def refuse(app: AppName, run: ScheduleRun, schedule: Schedule) -> Mapping[str, Any]:
        raise IkomaError("There is no database.")

    work(place.scheduler(refuse), until=lambda: place.outcomes() and place.outcomes()[0][0] is Outcome.FAILED)
    assert place.runs.list_of("shop", "report", 1)[0].message == "There is no database."


def test_an_exit_code_says_how_it_went(place: Place) -> None:
    place.set()

    async def fail(app: AppName, run: ScheduleRun, schedule: Schedule) -> Mapping[str, Any]:
        return {"exitCode": 3}

    work(place.scheduler(fail), until=lambda: place.outcomes() and place.outcomes()[0][0] is Outcome.FAILED)
    assert place.runs.list_of("shop", "report", 1)[0].message == "exit code 3"


def test_an_app_with_a_database_gets_a_nightly_backup_unless_somebody_has_decided(place: Place) -> None:
    work(place.scheduler(owns="shop"), until=lambda: read_schedules(place.app))
    [nightly] = read_schedules(place.app)
    assert (nightly.name, nightly.capability) == (NIGHTLY, "db.backup")
    remove_schedule(place.app, NIGHTLY)
    place.look(owns="shop")
    assert read_schedules(place.app) == ()


def test_a_folder_that_cannot_be_read_is_in_nobodys_way(place: Place) -> None:
    place.set()
    broken = place.folder / "apps" / "broken" / ".ikoma"
    broken.mkdir(parents=True)
    (broken / "schedules.json").write_text("{")
    work(place.scheduler(), until=lambda: place.outcomes() and place.outcomes()[0][0] is Outcome.SUCCEEDED)
    assert place.done == ["report"]


def test_a_run_that_is_asked_for_begins_at_once_and_leaves_the_next_time(place: Place) -> None:
    place.set(set_at=ago())

    async def ask() -> None:
        await place.runs.ask("shop", "report")

    asyncio.run(ask())
    work(place.scheduler(), until=lambda: place.outcomes()[0][0] is Outcome.SUCCEEDED)
    assert place.done == ["report"]
    assert replace(read_schedules(place.app)[0]).cron == "0 3 * * *"
