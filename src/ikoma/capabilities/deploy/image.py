"""deploy.image: let a service run another image."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ikoma.apps.deploying.deployer import DeployOptions
from ikoma.apps.observation.runbook import write_runbook
from ikoma.capabilities.context import Call
from ikoma.errors import Next
from ikoma.kernel.registry import AppRequest, Result, Untrusted, capability, listed
from ikoma.model import Effect, ImageReference, Role


class DeployImageRequest(AppRequest):
    service: str = Field(max_length=200)
    image: ImageReference = Field(max_length=400)
    reason: str = Field(default="", max_length=500)
    timeout: int = Field(default=300, ge=1, le=3600)


class DeployImageDetails(Result):
    release: str
    service: str
    image: str
    services: list[str]
    replaced: list[str]
    """Services that have new containers."""
    downtime_ms: int
    drain_ms: int
    """How long requests to the old containers were waited for."""
    warnings: Annotated[list[str], Untrusted("findings", ours=True)]
    urls: list[str]


class DeployImageResult(Result):
    success: bool
    message: str
    details: DeployImageDetails
    next: Next | None = Next("artifact.verify_release")


@capability(
    "deploy.image", role=Role.OPERATOR, effect=Effect.CHANGES, open_world=True, rare=True, undo="deploy.rollback"
)
@listed("deploy", "image", "Let a service run another image.")
async def image(call: Call, request: DeployImageRequest) -> DeployImageResult:
    """Deploy what serves with another image for one service. The compose file stays."""
    app, platform = call.find_app(request.app_name), call.platform
    options = DeployOptions(call.caller.name, request.timeout, call.progress, request.reason)
    release, rolled = await platform.deployer.replace_image(app, request.service, request.image, options)
    unwritten = await write_runbook(app, platform.health, platform.backups, platform.settings)
    return DeployImageResult(
        success=True,
        message=f"{app.name} serves release {release.id}.{rolled.rest}",
        details=DeployImageDetails(
            release=release.id,
            service=request.service,
            image=request.image,
            services=list(rolled.services),
            replaced=list(rolled.replaced),
            downtime_ms=rolled.downtime_ms,
            drain_ms=rolled.drain_ms,
            warnings=[
                f"The compose file was not changed: the next deploy.up gives {request.service} the image that stands "
                "there. Write this one into it if it is to stay.",
                *unwritten,
            ],
            urls=list(platform.routes.list_urls(app, release)),
        ),
    )
