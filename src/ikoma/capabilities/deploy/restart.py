"""deploy.restart: restart the release that serves."""

from __future__ import annotations

from pydantic import Field

from ikoma.apps.deploying.deployer import DeployOptions
from ikoma.capabilities.context import Call
from ikoma.errors import Next
from ikoma.kernel.registry import AppRequest, Result, capability, listed
from ikoma.model import Effect, Role


class DeployRestartRequest(AppRequest):
    timeout: int = Field(default=300, ge=1, le=3600)
    """Seconds until all must be healthy."""


class DeployRestartDetails(Result):
    downtime_ms: int
    drain_ms: int
    """How long requests to the old containers were waited for."""
    release: str


class DeployRestartResult(Result):
    success: bool
    message: str
    details: DeployRestartDetails
    next: Next | None = Next("artifact.verify_release")


@capability(
    "deploy.restart",
    role=Role.OPERATOR,
    effect=Effect.CHANGES,
    harmless="the containers are made anew from the same release; their volumes stay",
)
@listed("deploy", "restart", "Restart an app.")
async def restart(call: Call, request: DeployRestartRequest) -> DeployRestartResult:
    """Replace an app's containers by new ones of the same release, without losing a request.

    Use it when an app hangs; changes need deploy.up.
    """
    app = call.find_app(request.app_name)
    options = DeployOptions(call.caller.name, request.timeout, call.progress)
    release, rolled = await call.platform.deployer.restart(app, options)
    details = DeployRestartDetails(downtime_ms=rolled.downtime_ms, drain_ms=rolled.drain_ms, release=release.id)
    return DeployRestartResult(success=True, message=f"{app.name} was restarted.{rolled.rest}", details=details)
