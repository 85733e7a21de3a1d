"""operations.cancel: stop an operation."""

from __future__ import annotations

from ikoma.capabilities.context import Call
from ikoma.capabilities.operations.get import OperationsGetRequest, OperationsGetResult
from ikoma.capabilities.sentences import say_operation
from ikoma.kernel.registry import capability, listed
from ikoma.model import Effect, Role


@capability(
    "operations.cancel",
    role=Role.OPERATOR,
    effect=Effect.CHANGES,
    idempotent=True,
    harmless="what was begun is undone, and the call can be made again",
)
@listed(
    "operations", "cancel", "Stop an operation.", not_in_text=("state", "capability", "appName"), says=say_operation
)
async def cancel(call: Call, request: OperationsGetRequest) -> OperationsGetResult:
    """Stop a long call of your own; what it had begun is put right first.

    Use it when a long call should not go on. Next: apps.status.
    """
    return OperationsGetResult.of(
        await call.platform.operations.cancel(request.operation_id, call.caller, call.role), call
    )
