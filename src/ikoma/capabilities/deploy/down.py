"""deploy.down: take an app out of service."""

from __future__ import annotations

from contextlib import suppress

from ikoma.app_folder import App
from ikoma.apps.releases.release import Release, Releases
from ikoma.capabilities.context import Call
from ikoma.errors import IkomaError, Next
from ikoma.kernel.registry import AppRequest, Result, capability, listed
from ikoma.model import Effect, Role


class DeployDownResult(Result):
    success: bool
    message: str
    next: Next | None
    """Brings back what was stopped: the same release, where there is one."""


@capability(
    "deploy.down", role=Role.OPERATOR, effect=Effect.CHANGES, idempotent=True, unaudited=True, undo="deploy.restart"
)
@listed("deploy", "down", "Stop an app; its data stays.")
async def down(call: Call, request: AppRequest) -> DeployDownResult:
    """Stop an app and remove its containers and networks. Volumes, database and files stay.

    Use it to take an app out of service. Next: deploy.restart brings the same release back.
    """
    app = await call.find_app_or_remains(request.app_name)
    await call.platform.deployer.take_down(app, call.progress)
    release = _find_stopped(app)
    if release is None:
        return DeployDownResult(
            success=True, message=f"{app.name} is stopped.", next=Next("deploy.up") if app.exists else None
        )
    back = f"deploy.restart starts {release.id} again; deploy.up, what the folder holds now."
    return DeployDownResult(success=True, message=f"{app.name} is stopped. {back}", next=Next("deploy.restart"))


def _find_stopped(app: App) -> Release | None:
    """The release that deploy.restart would start; None where it could not, for a reason that it tells."""
    with suppress(IkomaError):
        return Releases(app).require_current()
    return None
