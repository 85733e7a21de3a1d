"""operations.list: what is being done, and what was."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ikoma.capabilities.context import Call
from ikoma.kernel.registry import Request, Result, Untrusted, capability, listed
from ikoma.kernel.sentences import count_field
from ikoma.model import AppName, Effect, Role


class OperationsListRequest(Request):
    app_name: AppName | None = None
    limit: int = Field(default=20, ge=1, le=200)


class OperationsListLine(Result):
    id: str
    state: str
    capability: str
    app_name: str | None
    caller: str
    started_at: str
    finished_at: str | None
    step: Annotated[str | None, Untrusted("progress", ours=True)]
    """The step it is at, or ended at."""


class OperationsListResult(Result):
    operations: list[OperationsListLine]
    truncated: bool
    """Whether there are more: a larger limit shows them."""


@capability("operations.list", role=Role.OBSERVER, effect=Effect.READS)
@listed(
    "operations",
    "operations",
    "List what is being done, and what was.",
    optional=("appName",),
    says=count_field("operations", "operation"),
)
async def list_operations(call: Call, request: OperationsListRequest) -> OperationsListResult:
    """List the latest changing calls, newest first: what runs now, what ended how.

    Use it to find the operationId of work under way, or why an app is busy.
    """
    if request.app_name is not None:
        call.caller.check_app(request.app_name)
    records = call.platform.operations.list_newest(request.limit + 1, request.app_name, call.caller, call.role)
    return OperationsListResult(
        operations=[
            OperationsListLine(
                id=record.id,
                state=record.state,
                capability=record.capability,
                app_name=record.app,
                caller=record.caller,
                started_at=record.started_at,
                finished_at=record.finished_at,
                step=record.steps[-1].name if record.steps else None,
            )
            for record in records[: request.limit]
        ],
        truncated=len(records) > request.limit,
    )
