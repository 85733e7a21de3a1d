"""apps.maintenance: show people a page instead of an app."""

from __future__ import annotations

from ikoma.capabilities.context import Call
from ikoma.kernel.registry import AppRequest, Result, capability, listed
from ikoma.model import Effect, Role


class AppsMaintenanceRequest(AppRequest):
    on: bool


class AppsMaintenanceResult(Result):
    success: bool
    message: str
    maintenance: bool


@capability(
    "apps.maintenance", role=Role.OPERATOR, effect=Effect.CHANGES, idempotent=True, rare=True, undo="apps.maintenance"
)
@listed("domains", "maintenance", "Show people a page instead of an app, or the app again.")
async def maintenance(call: Call, request: AppsMaintenanceRequest) -> AppsMaintenanceResult:
    """Show people a page instead of an app, or the app again. Containers run on."""
    app, routes = call.find_app(request.app_name), call.platform.routes
    if request.on:
        routes.begin_maintenance(app)
    else:
        await routes.end_maintenance(app)
    what = "shows a page that says it is being worked on" if request.on else "answers again"
    return AppsMaintenanceResult(success=True, message=f"{app.name} {what}.", maintenance=request.on)
