"""deploy.scale: how many containers a service has."""

from __future__ import annotations

from pydantic import Field

from ikoma.apps.deploying.deployer import DeployOptions
from ikoma.capabilities.context import Call
from ikoma.kernel.registry import AppRequest, Result, capability, listed
from ikoma.model import Effect, Role


class DeployScaleRequest(AppRequest):
    service: str = Field(max_length=200)
    replicas: int = Field(ge=0, le=20)
    timeout: int = Field(default=300, ge=1, le=3600)


class DeployScaleDetails(Result):
    service: str
    replicas: int
    services: list[str]
    """Services with containers."""
    release: str
    downtime_ms: int
    drain_ms: int
    """How long requests to containers that went were waited for."""


class DeployScaleResult(Result):
    success: bool
    message: str
    details: DeployScaleDetails


@capability("deploy.scale", role=Role.OPERATOR, effect=Effect.CHANGES, idempotent=True, undo="deploy.scale")
@listed("deploy", "scale", "Give a service another number of containers.")
async def scale(call: Call, request: DeployScaleRequest) -> DeployScaleResult:
    """Give a service that many containers, at most 20. Later deploys keep the number."""
    app = call.find_app(request.app_name)
    options = DeployOptions(call.caller.name, request.timeout, call.progress)
    release, rolled = await call.platform.deployer.scale(app, request.service, request.replicas, options)
    many = "container" if request.replicas == 1 else "containers"
    return DeployScaleResult(
        success=True,
        message=f"{request.service} of {app.name} has {request.replicas or 'no'} {many}.{rolled.rest}",
        details=DeployScaleDetails(
            service=request.service,
            replicas=request.replicas,
            services=list(rolled.services),
            release=release.id,
            downtime_ms=rolled.downtime_ms,
            drain_ms=rolled.drain_ms,
        ),
    )
