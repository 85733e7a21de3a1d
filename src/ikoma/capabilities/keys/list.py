"""keys.list: who may call."""

from __future__ import annotations

from pydantic import Field

from ikoma.capabilities.context import Call
from ikoma.kernel.access.reach import describe_reach
from ikoma.kernel.registry import Request, Result, capability, listed
from ikoma.kernel.requests import MOST_LISTED
from ikoma.kernel.sentences import count_field
from ikoma.model import Effect, Role


class KeysListRequest(Request):
    limit: int = Field(default=50, ge=1, le=MOST_LISTED)


class KeysListItem(Result):
    id: str
    name: str
    role: str
    apps: list[str]
    capabilities: list[str]
    reaches: str
    """Which apps and what of them, in words."""
    read_only: bool
    needs_approval: bool
    rate: int | None
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None
    previous_until: str | None
    """Until when the key before the last rotation is still taken."""


class KeysListResult(Result):
    keys: list[KeysListItem]
    truncated: bool
    """Whether there are more: a larger limit shows them."""


@capability("keys.list", role=Role.ADMIN, effect=Effect.READS, rare=True)
@listed("keys", "keys list", by_hand=True, says=count_field("keys", "key"))
async def listing(call: Call, request: KeysListRequest) -> KeysListResult:
    """All API keys but the admin key of the settings; names, roles, scopes and dates, never the keys.

    Use it to find the id of a key.
    """
    found = call.platform.callers.list_keys()
    return KeysListResult(
        truncated=len(found) > request.limit,
        keys=[
            KeysListItem(
                id=stored.caller.id,
                name=stored.caller.name,
                role=str(stored.caller.role),
                apps=list(stored.caller.apps),
                capabilities=list(stored.caller.capabilities),
                reaches=describe_reach(stored.caller),
                read_only=stored.caller.read_only,
                needs_approval=stored.caller.needs_approval,
                rate=stored.caller.rate,
                created_at=stored.created_at,
                expires_at=stored.caller.expires_at,
                revoked_at=stored.revoked_at,
                last_used_at=stored.last_used_at,
                previous_until=stored.previous_until,
            )
            for stored in found[: request.limit]
        ],
    )
