"""deploy.rollback: let an earlier release serve again."""

from __future__ import annotations

from pydantic import Field

from ikoma.apps.deployment import Wish
from ikoma.apps.release import Releases
from ikoma.capabilities.context import Call
from ikoma.kernel.registry import AppRequest, Result, capability
from ikoma.model import Effect, ReleaseId, Role


class Rollback(AppRequest):
    to: ReleaseId | None = None
    """The release to go back to; by default the one that served before."""
    database: bool = False
    """Take the database back too: by down-migrations, or a backup, which loses what was written since."""
    reason: str = Field(default="", max_length=500)
    """Why, for the record."""
    failed: bool = False
    """Whether the present release turned out broken: it is recorded as failed, and nothing of it is kept in standby."""
    timeout: int = Field(default=300, ge=1, le=3600)
    """Seconds until every service must be healthy."""


class Details(Result):
    release: str
    left: str | None
    """The release that served before."""
    services: list[str]
    database: str
    """What was done with the database."""
    downtime_ms: int
    drain_ms: int
    """How long requests to the old containers were waited for."""


class RolledBack(Result):
    success: bool
    message: str
    details: Details


@capability("deploy.rollback", role=Role.OPERATOR, effect=Effect.CHANGES)
async def rollback(call: Call, request: Rollback) -> RolledBack:
    """Let an earlier release serve again, with its compose file, variables, source and images, losing no request.

    The database stays as it is unless `database` is true. Where the earlier release does not come up, the present one
    goes on serving.

    Use it when a deploy turns out bad. release.list shows where one can go back to.
    """
    app = call.app(request.app_name)
    left = Releases(app).current()
    wish = Wish(call.caller.name, request.timeout, call.progress, request.reason, final=request.failed)
    release, rolled, way = await call.platform.deployments.go_back(app, request.to, wish, database=request.database)
    return RolledBack(
        success=True,
        message=f"{app.name} serves release {release.id} again.",
        details=Details(
            release=release.id,
            left=left.id if left else None,
            services=list(rolled.services),
            database=str(way),
            downtime_ms=rolled.downtime_ms,
            drain_ms=rolled.drain_ms,
        ),
    )
