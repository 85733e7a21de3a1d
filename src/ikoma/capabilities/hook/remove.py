"""hook.remove: pushes deploy no more."""

from __future__ import annotations

from ikoma.apps import hooks
from ikoma.capabilities.context import Call
from ikoma.kernel.registry import AppRequest, Result, capability
from ikoma.model import Effect, Role


class Removed(Result):
    success: bool
    message: str


@capability("hook.remove", role=Role.ADMIN, effect=Effect.CHANGES, rare=True)
async def remove(call: Call, request: AppRequest) -> Removed:
    """End an app's webhook."""
    app = call.app(request.app_name)
    hooks.require(app)
    call.platform.hooks.remove(app)
    return Removed(success=True, message=f"Pushes do not deploy {app.name} any more.")
