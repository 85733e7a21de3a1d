"""Copies off this machine by their ages: which are late, which are let go of, and what a place that fails changes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyrage
import pytest

from ikoma.apps.app import Apps
from ikoma.apps.backups.folder import AppBackups
from ikoma.apps.database.backups import Backups
from ikoma.apps.offsite import keeping
from ikoma.apps.offsite.keeping import OffsiteKeeper
from ikoma.apps.offsite.offsite import Offsite
from ikoma.apps.schedules.runs import Outcome, ScheduleRun, ScheduleRuns
from ikoma.apps.signing import BackupKey
from ikoma.kernel.events import Event
from ikoma.kernel.operations.journal import Journal
from ikoma.kernel.state.store import Store
from ikoma.model import AppName
from ikoma.moments import format_moment
from ikoma.offsite_place import OffsitePlace

SHOP = AppName("shop")
NOW = datetime.now(UTC)


class Desk:
    """An app with backups of some ages, and a folder as the place off this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "place"
        for path in (self.root, folder / "apps" / "shop", folder / "backups"):
            path.mkdir(parents=True)
        recipient = str(pyrage.x25519.Identity.generate().to_public())
        place = OffsitePlace(kind="file", path=str(self.root), recipients=(recipient,))
        store = Store(folder / "state.db")
        self.runs = ScheduleRuns(store, Journal(store))
        self.offsite = Offsite(place, folder / "offsite", folder / "backups.key")
        self.key = BackupKey(folder / "backups.key")
        self.backups = Backups(folder / "backups", self.key)
        app_backups = AppBackups(folder / "backups", self.key)
        self.told: list[Event] = []
        self.keeper = OffsiteKeeper(
            self.offsite, Apps(folder / "apps"), self.backups, app_backups, self.runs, self.told.append
        )

    def make(self, days: float, *, proven: bool = True, by_schedule: bool = True, packed: bool = False) -> str:
        """A backup that is so many days old; its name."""
        made = format_moment(NOW - timedelta(days=days), "milliseconds")
        name = f"shop-{days}-{'nightly' if by_schedule else 'mine'}.sql{'.zst' if packed else ''}"
        (self.folder / "backups" / name).write_bytes(b"rows")
        told = {"app": "shop", "name": name, "created_at": made, "size": 4, "sha256": "", "tables": {}}
        told["proven_at"] = made if proven else None
        (self.folder / "backups" / f"{name}.json").write_bytes(self.key.write_signed(told))
        if by_schedule:
            run = ScheduleRun("shop", "nightly", made, name, made, made, Outcome.SUCCEEDED, backup=name)
            asyncio.run(self.runs.claim(run))
        return name

    async def _send(self, name: str) -> None:
        manifest = next(item for item in self.backups.list_of(SHOP) if item.name == name)
        local = keeping.describe_dump_files(self.backups, manifest)
        scheduled = "nightly" in name
        await self.offsite.send(
            SHOP, name, local.created_at, local.files, proven_at=local.proven_at, scheduled=scheduled
        )

    def send(self, *names: str) -> None:
        async def all_of_them() -> None:
            for name in names:
                await self._send(name)

        asyncio.run(all_of_them())

    def go_round(self, until_there: set[str]) -> None:
        """Let the keeper work until exactly these are at the place."""

        async def work() -> None:
            task = asyncio.ensure_future(self.keeper.run())
            async with asyncio.timeout(240):
                while self.there() != until_there:
                    assert not task.done()
                    await asyncio.sleep(0.05)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

        asyncio.run(work())

    def there(self) -> set[str]:
        return {path.parent.name for path in self.root.glob("*/*/copy.json")}

    def here(self) -> set[str]:
        return {item.name for item in self.backups.list_of(SHOP)}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    yield Desk(tmp_path)


def test_an_app_is_late_when_a_proven_backup_has_been_here_for_a_day_without_a_newer_copy(desk: Desk) -> None:
    desk.make(3, proven=False)
    desk.make(0.5)
    assert desk.keeper.list_behind() == [], "nothing that counts has been here for a day"
    old = desk.make(4)
    assert desk.keeper.list_behind() == ["shop"]
    desk.send(old)
    assert desk.keeper.list_behind() == []
    newer = desk.make(2)
    assert desk.keeper.list_behind() == ["shop"]
    desk.send(newer)
    assert desk.keeper.list_behind() == []


def test_a_copy_that_was_made_while_the_clock_was_ahead_hides_no_lateness(desk: Desk) -> None:
    desk.send(desk.make(-400))
    desk.make(2)
    assert desk.keeper.list_behind() == ["shop"]


def test_copies_of_schedules_are_let_go_of_by_their_age_and_those_of_people_never(desk: Desk) -> None:
    write_rule(desk, keep_days=2, keep_weeks=1, keep_months=1)
    ages = [1.0, 1.01, 2.0, 5.0, 45.0]
    nightly = {days: desk.make(days, packed=days != 1.01) for days in ages}  # they were plain once, and count alike
    mine = desk.make(300, by_schedule=False)
    desk.send(mine, *nightly.values())
    here = desk.here()
    kept = {mine, *(nightly[days] for days in kept_ages(ages, days=2))}
    desk.go_round(kept)
    assert desk.here() == here, "no backup on this machine is touched"


def test_a_place_that_is_away_loses_nothing_and_what_is_missing_is_sent_when_it_is_back(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "_AGAIN_SECONDS", 0.1)
    names = {desk.make(1), desk.make(2, by_schedule=False)}
    away = desk.root.rename(desk.folder / "elsewhere")

    async def fail() -> None:
        task = asyncio.ensure_future(desk.keeper.run())
        async with asyncio.timeout(240):
            while desk.offsite.read_known().failing_since is None:
                await asyncio.sleep(0.05)
        since = desk.offsite.read_known().failing_since
        assert len(desk.told) <= 1
        away.rename(desk.root)
        async with asyncio.timeout(240):
            while desk.there() != names or desk.offsite.read_known().failing_since is not None:
                assert desk.offsite.read_known().failing_since in (since, None), "it says since when"
                await asyncio.sleep(0.05)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(fail())
    assert len(desk.told) == 1, "one event, however often it was tried"
    assert names == desk.here()


def write_rule(desk: Desk, **keep: int) -> None:
    folder = desk.folder / "apps" / "shop" / ".ikoma"
    folder.mkdir()
    (folder / "schedules.json").write_text(
        json.dumps([{"name": "nightly", "cron": "0 2 * * *", "command": [], **keep}])
    )


def kept_ages(ages: list[float], *, days: int) -> list[float]:
    """The newest of each of the last days; a week and a month keep the newest one, which those have."""
    newest: dict[str, float] = {}
    for age in sorted(ages):
        newest.setdefault((NOW - timedelta(days=age)).date().isoformat(), age)
    return list(newest.values())[:days]


def test_what_failed_to_leave_at_once_is_tried_again_long_before_the_next_look(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "_SOON_SECONDS", 0.2)
    desk.go_round(set())

    async def work() -> None:
        task = asyncio.ensure_future(desk.keeper.run())
        await asyncio.sleep(0.5)  # its first look is over: the next is an hour away
        name = desk.make(0, by_schedule=False)
        [backup] = desk.keeper.list_local(SHOP)
        desk.root.rename(desk.folder / "unplugged")
        left = await desk.keeper.leave(backup, lambda *_: None, scheduled=False)
        assert left is not None
        assert left.warning is not None
        (desk.folder / "unplugged").rename(desk.root)
        async with asyncio.timeout(120):
            while desk.there() != {name}:
                await asyncio.sleep(0.05)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(work())
