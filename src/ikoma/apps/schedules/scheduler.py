"""Does what is due: each run once, of all servers of a state; a missed one once, and none beside its former one."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from ikoma.app_folder import App
from ikoma.apps.app import Apps, log_failures
from ikoma.apps.database.backups import Backups
from ikoma.apps.schedules.kept_backups import choose_superfluous
from ikoma.apps.schedules.runs import Outcome, ScheduleRun, ScheduleRuns
from ikoma.apps.schedules.schedule import (
    Schedule,
    find_schedule,
    has_decided,
    make_nightly,
    read_schedules,
    write_schedule,
)
from ikoma.apps.schedules.timetable import compute_delay, find_last
from ikoma.errors import IkomaError
from ikoma.model import AppName
from ikoma.moments import format_moment
from ikoma.ports.databases import Databases

log = logging.getLogger("ikoma")

_LOOK_SECONDS = 10.0
_GIFT_SECONDS = 30.0
_SETTLED_AFTER = timedelta(minutes=1)
_LATE = timedelta(minutes=5)

Perform = Callable[[AppName, ScheduleRun, Schedule], Awaitable[Mapping[str, Any]]]
"""Makes the call of a schedule, as the operation of the run; its result."""


class Scheduler:
    """Runs schedules until it is cancelled."""

    def __init__(
        self,
        apps: Apps,
        databases: Databases,
        backups: Backups,
        runs: ScheduleRuns,
        perform: Perform,
        *,
        gives_nightly: bool = True,
    ) -> None:
        """
        Args:
            gives_nightly: whether an app with a database gets a nightly backup by itself.
        """
        self._apps = apps
        self._databases = databases
        self._backups = backups
        self._runs = runs
        self._perform = perform
        self._gives_nightly = gives_nightly
        self._here: set[str] = set()
        """Operations that this process works on."""
        self._looked: dict[AppName, float] = {}
        """When it was last looked whether an app has a database."""

    async def run(self) -> None:
        """Look every few seconds, by the clock of the machine: it may be set while we wait."""
        await self._runs.settle(timedelta())
        async with asyncio.TaskGroup() as group:
            while True:
                await self._runs.settle(_SETTLED_AFTER, self._here)
                for run in await self._runs.take_asked():
                    with log_failures(run.app):
                        app = self._apps.locate(AppName(run.app))
                        group.create_task(self._carry_out(app, find_schedule(app, run.schedule), run))
                for name in self._apps.list_names():
                    with log_failures(name):
                        for schedule, run in await self._claim_due(self._apps.locate(name)):
                            group.create_task(self._carry_out(self._apps.locate(name), schedule, run))
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._runs.asked.wait(), _LOOK_SECONDS)

    async def _claim_due(self, app: App) -> list[tuple[Schedule, ScheduleRun]]:
        """Claim the runs of an app that are due, and that no other server has."""
        if self._gives_nightly:
            await self._give_nightly(app)
        claimed = []
        for schedule in self._read_schedules(app):
            run = self._find_due(app, schedule)
            if run is not None and await self._runs.claim(run) and run.outcome is Outcome.RUNNING:
                claimed.append((schedule, run))
        return claimed

    def _read_schedules(self, app: App) -> Sequence[Schedule]:
        """Read the app's schedules; one that was set while the clock was ahead would wait for that time."""
        now = datetime.now(UTC)
        found = read_schedules(app)
        ahead = [item for item in found if item.since > now]
        for item in ahead:
            write_schedule(app, replace(item, set_at=format_moment(now)))
        return read_schedules(app) if ahead else found

    def _find_due(self, app: App, schedule: Schedule) -> ScheduleRun | None:
        now = datetime.now(UTC)
        late_by = compute_delay(app.name, schedule.name, schedule.jitter)
        due = find_last(schedule.cron, schedule.zone, now - late_by)
        if due is None or due <= schedule.since or self._runs.is_claimed(app.name, schedule.name, due):
            return None
        run = ScheduleRun(
            app=app.name,
            schedule=schedule.name,
            due=format_moment(due),
            operation=secrets.token_hex(12),
            began_at=format_moment(now, "milliseconds"),
            late=now - due - late_by > _LATE,
        )
        if run.late and not schedule.catch_up:
            return replace(run, outcome=Outcome.MISSED, ended_at=run.began_at, message="The server was away then.")
        former = self._runs.find_going_on(app.name, schedule.name)
        if former is not None:
            message = f"The run of {former.due} was still going on (operation {former.operation})."
            return replace(run, outcome=Outcome.SKIPPED, ended_at=run.began_at, message=message)
        return run

    async def _carry_out(self, app: App, schedule: Schedule, run: ScheduleRun) -> None:
        self._here.add(run.operation)
        try:
            outcome, message, backup = _judge(await self._perform(app.name, run, schedule))
        except IkomaError as error:
            outcome, message, backup = Outcome.FAILED, error.message, None
        except Exception:
            log.exception("%s: the schedule %s failed", app.name, schedule.name)
            outcome, message, backup = Outcome.FAILED, "An internal error; the server's log has it.", None
        finally:
            self._here.discard(run.operation)
        with log_failures(app.name):  # of a full disk, say: the next look tells how the operation ended
            await self._runs.end(run, outcome, message, backup)
        if backup is not None:
            with log_failures(app.name):
                await self._remove_expired(app, schedule)

    async def _remove_expired(self, app: App, schedule: Schedule) -> None:
        """Remove the backups that are kept long enough. Those that people made are theirs."""
        there = await asyncio.to_thread(self._backups.list_of, app.name)
        own = set(self._runs.list_backups(app.name))
        for name in choose_superfluous([item for item in there if item.name in own], there, schedule):
            await asyncio.to_thread(self._backups.remove, name)
            await self._runs.note_let_go(app.name, name)

    async def _give_nightly(self, app: App) -> None:
        """Give an app with a database its nightly backup, unless somebody has decided about its schedules."""
        now = time.monotonic()
        if has_decided(app) or app.name.previewed is not None or now < self._looked.get(app.name, 0.0) + _GIFT_SECONDS:
            return
        self._looked[app.name] = now
        with suppress(IkomaError):  # PostgreSQL is away: the next look does it
            if await self._databases.owns(app.name):
                write_schedule(app, make_nightly())


def _judge(result: Mapping[str, Any]) -> tuple[Outcome, str | None, str | None]:
    """Judge how a call went: outcome, message, and the backup that it made."""
    path = result.get("backupPath")
    if path is not None:
        name = str(path).rpartition("/")[2]
        return Outcome.SUCCEEDED, f"{name}, proven by restoring it in {result['restoreSeconds']:.1f} s", name
    code = result.get("exitCode", 0)
    return (Outcome.SUCCEEDED if code == 0 else Outcome.FAILED), f"exit code {code}", None
