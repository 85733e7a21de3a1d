"""approvals.approve: decide on the call of another key."""

from __future__ import annotations

from ikoma.capabilities.approvals.list import Item
from ikoma.capabilities.context import Call
from ikoma.kernel.approvals import APPROVED
from ikoma.kernel.registry import Request, capability
from ikoma.model import Effect, Role


class Approve(Request):
    id: str
    """The request, as approvals.list shows it."""


@capability("approvals.approve", role=Role.ADMIN, effect=Effect.CHANGES)
async def approve(call: Call, request: Approve) -> Item:
    """Consent to one call of another key, exactly as it was made. It works once, within the hour.

    Use it after you have read what would be lost. The caller then makes the same call again.
    """
    return Item.of(call.platform.approvals.decide(request.id, call.caller, APPROVED))
