"""approvals.deny: decide on the call of another key."""

from __future__ import annotations

from functools import partial

from ikoma.capabilities.approvals.list import ApprovalsListItem
from ikoma.capabilities.context import Call
from ikoma.kernel.access.approvals import DENIED
from ikoma.kernel.registry import Request, capability, listed
from ikoma.model import Effect, Role


class ApprovalsDenyRequest(Request):
    id: str


@capability(
    "approvals.deny",
    role=Role.ADMIN,
    effect=Effect.CHANGES,
    rare=True,
    harmless="the same call can be asked for again an hour later",
)
@listed("keys", "approvals deny", by_hand=True)
async def deny(call: Call, request: ApprovalsDenyRequest) -> ApprovalsListItem:
    """Refuse a call of another key.

    Use it when the call should not be made.
    """
    approvals = call.platform.approvals
    return ApprovalsListItem.of(await approvals.change(partial(approvals.decide, request.id, call.caller, DENIED)))
