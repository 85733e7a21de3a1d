"""schedules.remove: do something no longer by the clock."""

from __future__ import annotations

from ikoma.apps.schedules.schedule import ScheduleName, remove_schedule
from ikoma.capabilities.context import Call
from ikoma.capabilities.schedules.list import SchedulesListResult, describe_schedules
from ikoma.kernel.registry import AppRequest, capability, listed
from ikoma.model import Effect, Role


class SchedulesRemoveRequest(AppRequest):
    name: ScheduleName


@capability("schedules.remove", role=Role.OPERATOR, effect=Effect.CHANGES, rare=True, undo="schedules.set")
@listed("operations", "schedule-remove", "Do something no longer by the clock.")
async def remove(call: Call, request: SchedulesRemoveRequest) -> SchedulesListResult:
    """Do something no longer by the clock. A run that is going on is not ended; backups that it made stay."""
    app = call.find_app(request.app_name)
    remove_schedule(app, request.name)
    return describe_schedules(call, app)
