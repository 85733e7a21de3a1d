"""hook.show: whether pushes deploy an app, and what the last one came to."""

from __future__ import annotations

from ikoma.apps import hooks
from ikoma.capabilities.context import Call
from ikoma.capabilities.operations.get import failure_of
from ikoma.errors import OperationNotFound
from ikoma.kernel.registry import AppRequest, Result, capability
from ikoma.model import Effect, Role


class Delivery(Result):
    at: str
    event: str
    delivery: str
    deployed: bool
    """Whether it began a deploy."""
    reason: str | None
    """Why not, or what the deploy failed of."""
    operation_id: str | None
    state: str | None


class Shown(Result):
    exists: bool
    branch: str | None
    created_at: str | None
    last: Delivery | None
    """The last delivery with a right signature."""


@capability("hook.show", role=Role.OBSERVER, effect=Effect.READS, rare=True)
async def show(call: Call, request: AppRequest) -> Shown:
    """Whether an app has a webhook, for which branch, and what its last delivery came to."""
    app = call.app(request.app_name)
    hook = hooks.find(app)
    if hook is None:
        return Shown(exists=False, branch=None, created_at=None, last=None)
    last = call.platform.hooks.last(app.name)
    return Shown(
        exists=True, branch=hook.branch, created_at=hook.created_at, last=_delivery(call, last) if last else None
    )


def _delivery(call: Call, last: hooks.Last) -> Delivery:
    state, reason = None, last.reason
    if last.operation is not None:
        try:
            record = call.platform.operations.get(last.operation, call.caller, call.role)
            failure = failure_of(record, call)
            state, reason = record.state, failure.error if failure else None
        except OperationNotFound:
            state = None  # so long ago that the journal has let go of it
    return Delivery(
        at=last.at,
        event=last.event,
        delivery=last.delivery,
        deployed=last.operation is not None,
        reason=reason,
        operation_id=last.operation,
        state=state,
    )
