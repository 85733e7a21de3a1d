"""keys.revoke: end a key."""

from __future__ import annotations

from ikoma.capabilities.context import Call
from ikoma.kernel.registry import Request, Result, capability
from ikoma.model import Effect, Role


class Revoke(Request):
    id: str


class Revoked(Result):
    id: str
    message: str


@capability("keys.revoke", role=Role.ADMIN, effect=Effect.DESTROYS)
async def revoke(call: Call, request: Revoke) -> Revoked:
    """End an API key at once, on every door."""
    call.platform.callers.revoke(request.id)
    return Revoked(id=request.id, message="The key no longer works.")
