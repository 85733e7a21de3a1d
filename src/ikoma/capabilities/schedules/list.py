"""schedules.list: what an app does by the clock, when it is due next, and how it went."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, ClassVar

from pydantic import Field

from ikoma.app_folder import App
from ikoma.apps.schedules.runs import ScheduleRun
from ikoma.apps.schedules.schedule import Schedule, read_schedules
from ikoma.apps.schedules.timetable import compute_delay, find_next
from ikoma.capabilities.context import Call
from ikoma.kernel.page import Column, ResultPage
from ikoma.kernel.registry import AppRequest, Result, Untrusted, capability, listed
from ikoma.model import Effect, Role
from ikoma.moments import format_moment


class SchedulesListRequest(AppRequest):
    runs: int = Field(default=3, ge=0, le=50)
    """How many runs to show of each."""


class ScheduledRun(Result):
    due: str
    outcome: str
    message: Annotated[str | None, Untrusted("how it went", ours=True)]
    operation_id: str
    late: bool
    """Whether it was made up for after the server had been away."""


class ScheduledWork(Result):
    name: str
    does: str
    """backup, or the command."""
    cron: str
    zone: str
    next_due: str | None
    last: str
    """How the last run went, and when."""
    set_by: str
    keeps: str | None
    """Which backups it keeps."""
    recent: list[ScheduledRun]


class SchedulesListResult(Result):
    page: ClassVar = ResultPage(
        rows="schedules",
        columns=(
            Column("name"),
            Column("cron"),
            Column("zone", spare=True),
            Column("next", "nextDue", "time"),
            Column("last", cut=True),
            Column("does", cut=True),
        ),
        empty="{appName} does nothing by the clock: schedules.set adds something.",
    )
    app_name: str
    schedules: list[ScheduledWork]


@capability("schedules.list", role=Role.OBSERVER, effect=Effect.READS, rare=True)
@listed("operations", "schedules", "List what an app does by the clock.")
async def listing(call: Call, request: SchedulesListRequest) -> SchedulesListResult:
    """List what an app does by the clock; its backups and commands, when each is due next, and how the last went."""
    app = call.find_app(request.app_name)
    return describe_schedules(call, app, request.runs)


def describe_schedules(call: Call, app: App, runs: int = 1) -> SchedulesListResult:
    """The schedules of an app, as they are now."""
    found = [
        _describe(app, schedule, call.platform.schedule_runs.list_of(app.name, schedule.name, max(runs, 1)), runs)
        for schedule in read_schedules(app)
    ]
    return SchedulesListResult(app_name=app.name, schedules=found)


def _describe(app: App, schedule: Schedule, done: list[ScheduleRun], shown: int) -> ScheduledWork:
    late_by = compute_delay(app.name, schedule.name, schedule.jitter)
    due = find_next(schedule.cron, schedule.zone, datetime.now(UTC) - late_by)
    keeps = (
        f"one a day for {schedule.keep_days} days, a week for {schedule.keep_weeks}, a month for {schedule.keep_months}"
    )
    return ScheduledWork(
        name=schedule.name,
        does=" ".join(schedule.command) if schedule.command else "backup of the database",
        cron=schedule.cron,
        zone=schedule.zone,
        next_due=format_moment(due + late_by) if due else None,
        last=f"{done[0].outcome}, {done[0].due}" if done else "never",
        set_by=schedule.set_by,
        keeps=None if schedule.command else keeps,
        recent=[_describe_run(run) for run in done[:shown]],
    )


def _describe_run(run: ScheduleRun) -> ScheduledRun:
    return ScheduledRun(
        due=run.due, outcome=run.outcome, message=run.message, operation_id=run.operation, late=run.late
    )
