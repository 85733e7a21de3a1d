"""deploy.rollback: let an earlier release serve again."""

from __future__ import annotations

from pydantic import Field

from ikoma.apps.database.proof import prove_after_change
from ikoma.apps.deploying.deployer import DeployOptions
from ikoma.apps.deploying.rollback import RollbackRequest
from ikoma.apps.observation.runbook import write_runbook
from ikoma.apps.releases.release import Releases
from ikoma.capabilities.context import Call
from ikoma.errors import Next
from ikoma.kernel.registry import AppRequest, Loss, Result, capability, listed
from ikoma.model import Effect, ReleaseId, Role


class DeployRollbackRequest(AppRequest):
    to: ReleaseId | None = None
    """Default: the one before."""
    database: bool = False
    """Take the database back too; rows may be lost."""
    plan: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    """From deploy.plan."""
    reason: str = Field(default="", max_length=500)
    """Why."""
    failed: bool = False
    """Record the present one as failed; keep no standby."""
    timeout: int = Field(default=300, ge=1, le=3600)
    """Seconds until all must be healthy."""


class DeployRollbackDetails(Result):
    release: str
    left: str | None
    """The release that served before."""
    services: list[str]
    database: str
    """Tells what was done with the database."""
    backup: str | None
    """The backup that was made before that, and proven once the release served."""
    downtime_ms: int
    drain_ms: int
    """How long requests to the old containers were waited for."""


class DeployRollbackResult(Result):
    success: bool
    message: str
    details: DeployRollbackDetails
    next: Next | None = Next("artifact.verify_release")


async def find_losses(call: Call, request: DeployRollbackRequest) -> Loss | None:
    """The rows of the database that go back with it; where it stays as it is, nothing."""
    app = call.find_app(request.app_name)
    if not request.database:
        return None
    release, lost = await call.platform.planner.count_losses(app, RollbackRequest(request.to, database=True))
    kept = ("the files of both releases", "a backup, which is made before")
    return Loss(f"Take the database of {app.name} back to release {release.id}.", tuple(lost), kept) if lost else None


@capability("deploy.rollback", role=Role.OPERATOR, effect=Effect.CHANGES, loses=find_losses, undo="deploy.rollback")
@listed("releases", "rollback", "Let an earlier release serve again.", optional=("to",))
async def rollback(call: Call, request: DeployRollbackRequest) -> DeployRollbackResult:
    """Let an earlier release serve again, losing no request. The database stays unless `database` is true.

    Where it does not come up, the present one goes on. Use it when a deploy turns out bad.
    """
    app = call.find_app(request.app_name)
    wanted = RollbackRequest(request.to, request.database)
    if request.plan is not None:
        await call.platform.planner.require_rollback(app, wanted, request.plan)
    left = Releases(app).find_current()
    options = DeployOptions(call.caller.name, request.timeout, call.progress, request.reason, final=request.failed)
    platform = call.platform
    release, rolled, way = await platform.deployer.go_back(app, wanted, options)
    unproven = await prove_after_change(platform.databases, platform.backups, app, rolled.backup, call.progress)
    unwritten = await write_runbook(app, platform.health, platform.backups, platform.settings)
    return DeployRollbackResult(
        success=True,
        message=" ".join([f"{app.name} serves release {release.id} again.{rolled.rest}", *unproven, *unwritten]),
        details=DeployRollbackDetails(
            release=release.id,
            left=left.id if left else None,
            services=list(rolled.services),
            database=str(way),
            backup=rolled.backup,
            downtime_ms=rolled.downtime_ms,
            drain_ms=rolled.drain_ms,
        ),
    )
