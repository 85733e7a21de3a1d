"""release.list: the deployments of an app."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from ikoma.apps.releases import release as records
from ikoma.apps.releases.release import Releases
from ikoma.capabilities.context import Call
from ikoma.kernel.page import Column, ResultPage
from ikoma.kernel.registry import AppRequest, Result, capability, listed
from ikoma.kernel.requests import MOST_LISTED
from ikoma.kernel.sentences import count_field
from ikoma.model import Effect, Role


class ReleaseListRequest(AppRequest):
    limit: int = Field(default=20, ge=1, le=MOST_LISTED)


class ReleaseListRelease(Result):
    page: ClassVar = ResultPage(
        says="The release {id} {pinned}.",
        either={"pinned": ("is kept whatever its age", "is let go of when it is old enough")},
    )
    id: str
    state: str
    """started, succeeded or failed."""
    current: bool
    """Whether it is the one that serves."""
    caller: str
    started_at: str
    finished_at: str | None
    commit: str | None
    cause: str | None
    """Why it failed."""
    reason: str
    """Why it was deployed, in the caller's words."""
    served_at: str | None
    """When it last began to serve."""
    pinned: bool
    """Whether it is kept whatever its age."""
    compatible: bool
    """Whether the release before can run with its database."""
    backup: str | None
    """The backup that was made before its migrations."""


class ReleaseListResult(Result):
    page: ClassVar = ResultPage(
        rows="releases",
        columns=(
            Column("release", "id"),
            Column("state", kind="state", also="current"),
            Column("started", "startedAt", "time"),
            Column("by", "caller", cut=True, spare=True),
            Column("why", "cause|reason", "line", cut=True),
        ),
        empty="It was never deployed: deploy.up does it.",
    )
    releases: list[ReleaseListRelease]
    truncated: bool
    """Whether there are more: a larger limit shows them."""


@capability("release.list", role=Role.OBSERVER, effect=Effect.READS)
@listed("releases", "releases", "List the deployments of an app.", says=count_field("releases", "release"))
async def list_releases(call: Call, request: ReleaseListRequest) -> ReleaseListResult:
    """List the deployments of an app, newest first, with how each ended.

    Use it to see what serves. Next: release.show, or deploy.rollback.
    """
    releases = Releases(call.find_app(request.app_name))
    current = releases.find_current()
    found = releases.list_all()
    return ReleaseListResult(
        releases=[ReleaseListRelease(**describe_release(item, current)) for item in found[: request.limit]],
        truncated=len(found) > request.limit,
    )


def describe_release(release: records.Release, current: records.Release | None) -> dict[str, Any]:
    """The facts that a list shows of a release."""
    return {
        "id": release.id,
        "state": release.state,
        "current": current is not None and release.id == current.id,
        "caller": release.caller,
        "started_at": release.started_at,
        "finished_at": release.finished_at,
        "commit": release.commit,
        "cause": release.cause,
        "reason": release.reason,
        "served_at": release.served_at,
        "pinned": release.pinned,
        "compatible": release.compatible,
        "backup": release.backup,
    }
