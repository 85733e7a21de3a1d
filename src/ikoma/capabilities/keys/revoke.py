"""keys.revoke: end a key."""

from __future__ import annotations

from functools import partial

from ikoma.capabilities.context import Call
from ikoma.kernel.registry import Loss, Request, Result, capability, listed
from ikoma.model import Effect, Role


class KeysRevokeRequest(Request):
    id: str


class KeysRevokeResult(Result):
    id: str
    message: str


async def find_losses(call: Call, request: KeysRevokeRequest) -> Loss:
    """The key that would end, and what it may do."""
    call.caller.check_covers(call.platform.callers.find(request.id), given=False)
    found = [stored.caller for stored in call.platform.callers.list_keys() if stored.caller.id == request.id]
    lost = tuple(f"key {caller.name}, role {caller.role}, apps {', '.join(caller.apps) or 'all'}" for caller in found)
    return Loss(f"End the key {request.id} on every door.", lost)


@capability("keys.revoke", role=Role.ADMIN, effect=Effect.DESTROYS, idempotent=True, loses=find_losses, rare=True)
@listed("keys", "keys revoke", by_hand=True)
async def revoke(call: Call, request: KeysRevokeRequest) -> KeysRevokeResult:
    """End an API key at once, on every door.

    Use it when a key leaked or was replaced.
    """
    callers = call.platform.callers
    call.caller.check_covers(callers.find(request.id), given=False)
    await callers.change(partial(callers.revoke, request.id))
    return KeysRevokeResult(id=request.id, message="The key no longer works.")
