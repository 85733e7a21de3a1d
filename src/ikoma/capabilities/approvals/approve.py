"""approvals.approve: decide on the call of another key."""

from __future__ import annotations

from functools import partial

from ikoma.capabilities.approvals.list import ApprovalsListItem
from ikoma.capabilities.context import Call
from ikoma.kernel.access.approvals import APPROVED
from ikoma.kernel.registry import Request, capability, listed
from ikoma.model import Effect, Role


class ApprovalsApproveRequest(Request):
    id: str


@capability(
    "approvals.approve",
    role=Role.ADMIN,
    effect=Effect.CHANGES,
    rare=True,
    harmless="it lets one call of another key be made, and no other",
)
@listed("keys", "approvals approve", by_hand=True)
async def approve(call: Call, request: ApprovalsApproveRequest) -> ApprovalsListItem:
    """Consent to one call of another key, once, within the hour.

    Use it when what would be lost may be. The caller then calls again.
    """
    approvals = call.platform.approvals
    return ApprovalsListItem.of(await approvals.change(partial(approvals.decide, request.id, call.caller, APPROVED)))
