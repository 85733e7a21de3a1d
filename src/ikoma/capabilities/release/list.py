"""release.list: the deployments of an app."""

from __future__ import annotations

from ikoma.apps.release import Releases
from ikoma.capabilities.context import Call
from ikoma.kernel.registry import AppRequest, Result, capability
from ikoma.model import Effect, Role


class Release(Result):
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


class Listed(Result):
    releases: list[Release]


@capability("release.list", role=Role.OBSERVER, effect=Effect.READS)
async def list_releases(call: Call, request: AppRequest) -> Listed:
    """List the deployments of an app, newest first, with how each ended.

    Use it to see what was deployed when, and which one serves.
    """
    releases = Releases(call.app(request.app_name))
    current = releases.current()
    return Listed(
        releases=[
            Release(
                id=item.id,
                state=item.state,
                current=current is not None and item.id == current.id,
                caller=item.caller,
                started_at=item.started_at,
                finished_at=item.finished_at,
                commit=item.commit,
                cause=item.cause,
            )
            for item in releases.all()
        ]
    )
