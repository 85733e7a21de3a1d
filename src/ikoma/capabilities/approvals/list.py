"""approvals.list: which calls wait for consent."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from ikoma.capabilities.context import Call
from ikoma.kernel.access.approvals import Approval
from ikoma.kernel.registry import Request, Result, Untrusted, capability, listed
from ikoma.kernel.requests import MOST_LISTED
from ikoma.kernel.sentences import count_field
from ikoma.model import Effect, Role


class ApprovalsListRequest(Request):
    closed: bool = False
    """Also decided and ended ones."""
    limit: int = Field(default=50, ge=1, le=MOST_LISTED)


class ApprovalsListItem(Result):
    id: str
    capability: str
    app: str | None
    arguments: dict[str, Any]
    """As the audit log has them: values that are secret are not shown."""
    summary: Annotated[str, Untrusted("what would be lost", ours=True)]
    """Summary of what the call does and loses."""
    caller: str
    state: str
    """pending, approved, denied, used or expired."""
    created_at: str
    expires_at: str
    decided_by: str | None
    decided_at: str | None

    @classmethod
    def of(cls, approval: Approval) -> ApprovalsListItem:
        return cls.model_validate(approval, from_attributes=True)


class ApprovalsListResult(Result):
    approvals: list[ApprovalsListItem]
    truncated: bool
    """Whether there are more: a larger limit shows them."""


@capability("approvals.list", role=Role.ADMIN, effect=Effect.READS, rare=True)
@listed("keys", "approvals list", by_hand=True, says=count_field("approvals", "call"))
async def listing(call: Call, request: ApprovalsListRequest) -> ApprovalsListResult:
    """Calls that wait for another key's consent, newest first; who asks, for what, until when.

    Next: approvals.approve or approvals.deny.
    """
    found = call.platform.approvals.list_visible(call.caller, closed=request.closed)
    listed = [ApprovalsListItem.of(approval) for approval in found[: request.limit]]
    return ApprovalsListResult(approvals=listed, truncated=len(found) > request.limit)
