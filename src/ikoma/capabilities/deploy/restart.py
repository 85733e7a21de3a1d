"""deploy.restart: restart the release that serves."""

from __future__ import annotations

from pydantic import Field

from ikoma.capabilities.context import Call
from ikoma.kernel.registry import AppRequest, Result, capability
from ikoma.model import Effect, Role


class Restart(AppRequest):
    timeout: int = Field(default=300, ge=1, le=3600)
    """Seconds until every service must be healthy again."""


class Details(Result):
    downtime_ms: int
    release: str


class Restarted(Result):
    success: bool
    message: str
    details: Details


@capability("deploy.restart", role=Role.OPERATOR, effect=Effect.CHANGES)
async def restart(call: Call, request: Restart) -> Restarted:
    """Restart an app's containers as they were deployed and wait until they are healthy.

    Use it when an app hangs. Changed files or variables need deploy.up instead.
    """
    app = call.app(request.app_name)
    release, deployed = await call.platform.deployments.restart(app, timeout=request.timeout, progress=call.progress)
    details = Details(downtime_ms=deployed.downtime_ms, release=release.id)
    return Restarted(success=True, message=f"{app.name} was restarted.", details=details)
