"""The clock is set forward and back while schedules are due, and two servers share them: once each, none lost."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest

from ikoma.apps.app import Apps
from ikoma.apps.backups.folder import AppBackups
from ikoma.apps.recovery import nightly
from ikoma.apps.schedules import runs, scheduler, timetable
from ikoma.apps.schedules.runs import Outcome, ScheduleRun
from ikoma.apps.schedules.schedule import Schedule
from ikoma.apps.signing import BackupKey
from ikoma.kernel.operations.journal import Journal, Record
from ikoma.kernel.state.store import Store
from ikoma.model import AppName
from ikoma.moments import format_moment
from tests.unit.apps.schedules.test_scheduler import Place

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
YEAR = timedelta(days=365)


class Clock:
    """The clock of the machine, which somebody sets."""

    def __init__(self) -> None:
        self.time = NOON


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    made = Clock()

    class Moment(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Moment:
            return cls.fromtimestamp(made.time.timestamp(), tz)

    for module in (scheduler, runs, nightly):
        monkeypatch.setattr(module, "datetime", Moment)
    monkeypatch.setattr(scheduler, "_LOOK_SECONDS", 0.001)
    monkeypatch.setattr(nightly, "_LOOK_SECONDS", 0.001)
    yield made


class Servers:
    """Two servers of one state, each of which looks at the clock again and again."""

    def __init__(self, place: WatchedPlace, clock: Clock) -> None:
        self.place, self.clock = place, clock
        self.begun: list[str] = []
        both = (place.scheduler(self.note), place.scheduler(self.note, store=Store(place.folder / "state.db")))
        self._tasks = [asyncio.ensure_future(item.run()) for item in both]

    async def note(self, app: AppName, run: ScheduleRun, schedule: Schedule) -> Mapping[str, Any]:
        self.begun.append(run.due)
        return {"exitCode": 0}

    async def see(self, time: datetime) -> None:
        """Set the clock, and let both look at it more than once."""
        self.clock.time = time
        before = self.place.looks
        while self.place.looks < before + 6:
            assert not any(task.done() for task in self._tasks)
            await asyncio.sleep(0.001)

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task


class WatchedPlace(Place):
    """A place that counts how often a server has looked at its apps."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.looks = 0
        names = self.apps.list_names

        def counted() -> Any:
            self.looks += 1
            return names()

        self.apps.list_names = counted  # type: ignore[method-assign]

    def set_hourly(self, set_at: datetime = NOON) -> None:
        self.set(cron="0 * * * *", set_at=format_moment(set_at))


@pytest.fixture
def place(tmp_path: Path) -> WatchedPlace:
    return WatchedPlace(tmp_path)


def watch(place: Place, clock: Clock, *times: datetime) -> list[str]:
    """The runs that two servers begin while the clock is set to one time after another."""

    async def work() -> list[str]:
        servers = Servers(place, clock)
        for time in times:
            await servers.see(time)
        await servers.end()
        return servers.begun

    return asyncio.run(work())


def at(hour: float, days: int = 0) -> datetime:
    return NOON.replace(hour=0) + timedelta(days=days, hours=hour)


def told(*times: datetime) -> list[str]:
    return [format_moment(time) for time in times]


def test_times_that_come_again_are_not_run_again(place: WatchedPlace, clock: Clock) -> None:
    place.set_hourly()
    times = [at(13), at(14), at(15), at(13.5), at(14), at(14.9), at(15), at(16)]
    assert watch(place, clock, *times) == told(at(13), at(14), at(15), at(16))


def test_a_clock_that_was_a_year_ahead_for_a_moment_stops_no_schedule(place: WatchedPlace, clock: Clock) -> None:
    place.set_hourly()
    begun = watch(place, clock, at(13), at(13) + YEAR, at(13.2), at(14), at(15))
    assert begun == told(at(13), at(13) + YEAR, at(14), at(15))


def test_one_that_was_set_while_the_clock_was_ahead_runs_when_it_is_right_again(
    place: WatchedPlace, clock: Clock
) -> None:
    place.set_hourly(set_at=NOON + YEAR)
    assert watch(place, clock, at(13.5), at(14), at(15)) == told(at(14), at(15))


def test_whatever_the_clock_does_no_time_is_run_twice_and_none_lost_that_it_stood_at(
    place: WatchedPlace, clock: Clock
) -> None:
    place.set_hourly()
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    times = [NOON]
    for _ in range(60):
        jump = chance.choice([0.5, 0.5, 1, 1, 1, 2, -1, -3, 30, -24])
        times.append(max(NOON, times[-1] + timedelta(hours=jump)))
    begun = Counter(watch(place, clock, *times))
    expected = {format_moment(time.replace(minute=0)) for time in times} - {format_moment(NOON)}
    assert set(begun) == expected, f"seed {seed}"
    assert set(begun.values()) == {1}, f"seed {seed}"


def test_runs_beyond_those_that_are_kept_are_begun_once_after_the_clock_was_set_back(
    place: WatchedPlace, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "_KEPT", 3)
    place.set_hourly()
    hours = [at(hour) for hour in range(13, 20)]
    begun = watch(place, clock, *hours, at(13), at(13), at(13.5))
    assert begun == told(*hours, at(13)), "that it ran was forgotten; then it is known again"


def test_one_that_takes_longer_than_two_of_its_times_is_never_beside_itself(place: WatchedPlace, clock: Clock) -> None:
    place.set_hourly()
    former = ScheduleRun(app="shop", schedule="report", due=told(NOON)[0], operation="f" * 24, began_at=told(NOON)[0])
    Journal(place.store).begin(
        Record("f" * 24, "apps.run", "shop", "schedule:shop:report", "schedule:report", {}, "", None)
    )
    asyncio.run(place.runs.claim(former))
    assert watch(place, clock, at(13), at(14), at(15)) == []
    outcomes = [outcome for outcome, _ in place.outcomes()]
    assert outcomes == [Outcome.SKIPPED, Outcome.SKIPPED, Outcome.SKIPPED, Outcome.RUNNING]


def test_one_that_is_asked_for_before_its_delayed_time_does_not_take_its_place(
    place: WatchedPlace, clock: Clock
) -> None:
    place.set(cron="0 * * * *", set_at=format_moment(NOON), jitter=3000)
    clock.time = at(13, 0) + timedelta(seconds=1)
    asyncio.run(place.runs.ask("shop", "report"))
    begun = watch(place, clock, at(13) + timedelta(seconds=2), at(13.9))
    assert len(begun) == 2
    assert begun[-1] == told(at(13))[0]


def test_a_run_of_a_time_to_come_whose_server_is_gone_is_told_as_cut_off(place: WatchedPlace, clock: Clock) -> None:
    place.set_hourly()
    ahead = told(NOON + YEAR)[0]
    asyncio.run(
        place.runs.claim(ScheduleRun(app="shop", schedule="report", due=ahead, operation="a" * 24, began_at=ahead))
    )
    watch(place, clock, at(12.5))
    assert place.outcomes()[0][0] is Outcome.CUT_OFF


def test_nights_go_on_after_the_clock_was_ahead(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "state.db")
    (tmp_path / "apps").mkdir()
    made: list[str] = []
    looks: list[datetime] = []

    def find_last(cron: str, zone: str, until: datetime) -> datetime | None:
        looks.append(until)
        return timetable.find_last(cron, zone, until)

    monkeypatch.setattr(nightly, "find_last", find_last)

    async def perform(app: AppName, run: ScheduleRun) -> Mapping[str, Any]:
        made.append(run.due)
        return {"backups": [{"name": "x"}], "message": "made"}

    async def work() -> None:
        backups = AppBackups(tmp_path / "backups", BackupKey(tmp_path / "key"))
        nights = nightly.NightlyBackups(
            Apps(tmp_path / "apps"), backups, runs.ScheduleRuns(store, Journal(store)), perform
        )
        task = asyncio.ensure_future(nights.run())
        for time in (at(12), at(12, 1), at(12, 1) + YEAR, at(13, 1), at(12, 2), at(12, 1), at(12, 2)):
            clock.time = time
            before = len(looks)
            while len(looks) < before + 3:
                assert not task.done()
                await asyncio.sleep(0.001)
        task.cancel()

    asyncio.run(work())
    assert made == told(at(4, 1), at(4, 1) + YEAR, at(4, 2))
