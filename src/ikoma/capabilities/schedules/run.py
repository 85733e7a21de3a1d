"""schedules.run: do now what is else done by the clock."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from ikoma.apps.schedules.schedule import ScheduleName, find_schedule
from ikoma.capabilities.context import Call
from ikoma.errors import Next, RoleTooLow, ShuttingDown
from ikoma.kernel.answers.leading import may_call
from ikoma.kernel.page import Fact, ResultPage
from ikoma.kernel.registry import AppRequest, Result, capability, listed, registry
from ikoma.model import Effect, Role

_SECONDS = 15.0
_PAUSE = 0.05


class SchedulesRunRequest(AppRequest):
    name: ScheduleName


class SchedulesRunResult(Result):
    page: ClassVar = ResultPage(says="{name} of {appName} has begun.", facts=(Fact("operation", "operationId"),))
    app_name: str
    name: str
    operation_id: str


@capability(
    "schedules.run",
    role=Role.OPERATOR,
    effect=Effect.CHANGES,
    rare=True,
    exclusive=False,
    harmless="it makes a call that was decided on when the schedule was set",
)
@listed("operations", "schedule-run", "Do now what is done by the clock.")
async def run_now(call: Call, request: SchedulesRunRequest) -> SchedulesRunResult:
    """Do now what a schedule does by the clock; its next time stays. Its operation can be waited for."""
    app = call.find_app(request.app_name)
    schedule = find_schedule(app, request.name)
    if not may_call(registry.get(schedule.capability), call.caller, call.role):
        raise RoleTooLow(f"This schedule calls {schedule.capability}, which this key cannot.")
    operation = await call.platform.schedule_runs.ask(app.name, schedule.name)
    try:
        async with asyncio.timeout(_SECONDS):
            while not call.platform.operations.is_known(operation):  # noqa: ASYNC110 - another server may begin it
                await asyncio.sleep(_PAUSE)
    except TimeoutError:
        raise ShuttingDown("The run did not begin in time.", next=[Next("schedules.list")]) from None
    return SchedulesRunResult(app_name=app.name, name=schedule.name, operation_id=operation)
