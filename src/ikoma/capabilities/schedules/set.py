"""schedules.set: have something done by the clock."""

from __future__ import annotations

from dataclasses import fields

from pydantic import Field

from ikoma.apps.schedules.schedule import Schedule, ScheduleName, write_schedule
from ikoma.apps.schedules.timetable import BadExpression, check_expression
from ikoma.capabilities.context import Call
from ikoma.capabilities.schedules.list import SchedulesListResult, describe_schedules
from ikoma.compose.roles.release_command import explain_bad_command
from ikoma.errors import InvalidArguments, RoleTooLow
from ikoma.kernel.answers.leading import may_call
from ikoma.kernel.registry import AppRequest, capability, listed, registry
from ikoma.model import Effect, Role

_RARE = ("timeout", "jitter", "catchUp", "keepDays", "keepWeeks", "keepMonths")
"""Arguments for people: their defaults do for an assistant."""


class SchedulesSetRequest(AppRequest):
    name: ScheduleName
    cron: str = Field(max_length=200, examples=["0 3 * * *"])
    """Minute, hour, day, month, weekday."""
    zone: str = Field(default="UTC", max_length=60)
    """Such as Europe/Berlin."""
    command: list[str] = Field(default_factory=list)
    """No shell. Left out: a backup of the database."""
    service: str | None = Field(default=None, max_length=63)
    """Service whose image and variables it gets."""
    timeout: int = Field(default=3600, ge=1, le=3600)
    """Seconds for the command."""
    jitter: int = Field(default=0, ge=0, le=43_200)
    """Seconds over which starts are spread."""
    catch_up: bool = True
    """Whether a time that the server missed is made up for, once."""
    keep_days: int = Field(default=7, ge=1, le=3660)
    keep_weeks: int = Field(default=4, ge=0, le=520)
    keep_months: int = Field(default=6, ge=0, le=120)
    """For how many days, weeks and months one backup each is kept."""


@capability(
    "schedules.set", role=Role.OPERATOR, effect=Effect.CHANGES, idempotent=True, rare=True, undo="schedules.remove"
)
@listed("operations", "schedule-set", "Have a backup or a command done by the clock.", by_hand=True, not_over_mcp=_RARE)
async def set_schedule(call: Call, request: SchedulesSetRequest) -> SchedulesListResult:
    """Back the database up, or run a command, by the clock. It replaces a schedule of the same name.

    Use it for nightly backups and for what an app does regularly.
    """
    app = call.find_app(request.app_name)
    try:
        check_expression(request.cron, request.zone)
    except BadExpression as error:
        raise InvalidArguments(str(error), hint='Five fields: "0 3 * * *" is three every night.') from None
    if request.command and (problem := explain_bad_command(request.command)):
        raise InvalidArguments(f"command: {problem}.")
    if request.service and not request.command:
        raise InvalidArguments("service goes with command.")
    given = request.model_dump(include={item.name for item in fields(Schedule)} - {"command"})
    schedule = Schedule(**given, command=tuple(request.command), set_by=call.caller.name)
    if not may_call(registry.get(schedule.capability), call.caller, call.role):
        raise RoleTooLow(f"This schedule would call {schedule.capability}, which this key cannot.")
    write_schedule(app, schedule)
    return describe_schedules(call, app)
