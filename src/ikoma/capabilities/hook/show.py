"""hook.show: whether pushes deploy an app, and what the last deliveries came to."""

from __future__ import annotations

from typing import Annotated

import orjson
from pydantic import Field

from ikoma.apps.source import webhook
from ikoma.capabilities.context import Call
from ikoma.capabilities.operations.get import tell_failure
from ikoma.errors import OperationNotFound
from ikoma.kernel.operations.journal import Record
from ikoma.kernel.registry import AppRequest, Result, Untrusted, capability, listed
from ikoma.model import Effect, Role


class HookShowRequest(AppRequest):
    limit: int = Field(default=10, ge=1, le=webhook.MOST_SHOWN)
    """Most deliveries."""


class HookShowDelivery(Result):
    at: str
    host: str
    """github, gitea, gitlab, bitbucket or ikoma: in whose form it was signed."""
    event: Annotated[str, Untrusted("what the git host says")]
    delivery: Annotated[str, Untrusted("what the git host says")]
    ref: Annotated[str | None, Untrusted("what the git host says")]
    commit: str | None
    """The one that was pushed."""
    deployed: bool
    """Whether it began a deploy."""
    reason: Annotated[str | None, Untrusted("names of branches and files", ours=True)]
    """Why not, or what the deploy failed of."""
    code: str | None
    """Code of the error, where it was refused or failed."""
    operation_id: str | None
    state: str | None
    status: str | None
    """Result of telling the git host."""


class HookShowResult(Result):
    exists: bool
    branch: str | None
    created_at: str | None
    statuses: bool = False
    """Whether the git host is told what became of a commit."""
    last: HookShowDelivery | None
    """The last delivery with a right signature."""
    deliveries: list[HookShowDelivery]
    """The last of them, newest first."""
    truncated: bool = False
    """Whether there are more: a larger limit shows up to 50."""
    refused: int = 0
    """Deliveries without a right signature, since the server started: is it the right secret?"""
    refused_at: str | None = None


@capability("hook.show", role=Role.OBSERVER, effect=Effect.READS, rare=True)
@listed("git", "hook", "Show whether pushes deploy an app, and the last ones.")
async def show(call: Call, request: HookShowRequest) -> HookShowResult:
    """Whether an app has a webhook, and what came by it."""
    app = call.find_app(request.app_name)
    hook = webhook.find(app)
    if hook is None:
        return HookShowResult(exists=False, branch=None, created_at=None, last=None, deliveries=[])
    found = call.platform.hooks.list_deliveries(app.name)
    deliveries = [_show_delivery(call, item) for item in found[: request.limit]]
    unproven = call.platform.hooks.read_unproven(app.name)
    return HookShowResult(
        exists=True,
        branch=hook.branch,
        created_at=hook.created_at,
        statuses=hook.statuses is not None,
        last=deliveries[0] if deliveries else None,
        deliveries=deliveries,
        truncated=len(found) > request.limit,
        refused=unproven.count,
        refused_at=unproven.at or None,
    )


def _show_delivery(call: Call, item: webhook.Delivery) -> HookShowDelivery:
    state, reason, code, deployed = None, item.reason, item.code, item.operation is not None
    if item.operation is not None:
        try:
            record = call.platform.operations.get(item.operation, call.caller, call.role)
        except OperationNotFound:
            record = None  # so long ago that the journal has let go of it
        if record is not None:
            state = record.state
            failure, nothing = tell_failure(record, call), _explain_nothing(record)
            reason, code = (failure["error"], failure["code"]) if failure else (nothing, None)
            deployed = nothing is None
    return HookShowDelivery(
        at=item.at,
        host=item.host,
        event=item.event,
        delivery=item.delivery,
        ref=item.ref,
        commit=item.pushed,
        deployed=deployed,
        reason=reason,
        code=code,
        operation_id=item.operation,
        state=state,
        status=item.status,
    )


def _explain_nothing(record: Record) -> str | None:
    """The reason why an operation that succeeded has deployed nothing."""
    result = orjson.loads(record.result) if record.result else {}
    return str(result.get("message")) if result.get("deployed") is False else None
