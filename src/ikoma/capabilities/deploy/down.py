"""deploy.down: take an app out of service."""

from __future__ import annotations

from ikoma.capabilities.context import Call
from ikoma.kernel.registry import AppRequest, Result, capability
from ikoma.model import Effect, Role


class Down(Result):
    success: bool
    message: str


@capability(
    "deploy.down", role=Role.OPERATOR, effect=Effect.CHANGES, idempotent=True, unaudited=True, undo="deploy.restart"
)
async def down(call: Call, request: AppRequest) -> Down:
    """Stop an app and remove its containers and networks. Volumes, database and files stay.

    Use it to take an app out of service. Next: deploy.up brings it back.
    """
    app = await call.app_or_remains(request.app_name)
    await call.platform.deployments.take_down(app, call.progress)
    return Down(success=True, message=f"{app.name} is stopped. deploy.up starts it again.")
