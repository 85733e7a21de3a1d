"""operations.wait: be there when an operation ends."""

from __future__ import annotations

from pydantic import Field

from ikoma.capabilities.context import Call
from ikoma.capabilities.operations.get import OperationsGetRequest, OperationsGetResult
from ikoma.capabilities.sentences import say_operation
from ikoma.kernel.registry import capability, listed
from ikoma.model import Effect, Role


class OperationsWaitRequest(OperationsGetRequest):
    seconds: int = Field(default=45, ge=0, le=3600)
    """The longest to wait."""


@capability("operations.wait", role=Role.OPERATOR, effect=Effect.READS)
@listed(
    "operations",
    "wait",
    "Wait until an operation has ended.",
    well=("state", "succeeded"),
    not_in_text=("state", "capability", "appName"),
    says=say_operation,
)
async def wait(call: Call, request: OperationsWaitRequest) -> OperationsGetResult:
    """Wait until a long call has ended, and get its result. Still running afterwards? Call it again.

    Use it after an answer with an operationId.
    """
    record = await call.platform.operations.wait(
        request.operation_id, call.caller, call.role, seconds=request.seconds, progress=call.progress
    )
    return OperationsGetResult.of(record, call)
