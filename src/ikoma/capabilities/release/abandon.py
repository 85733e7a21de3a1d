"""release.abandon: go on without taking a database back that cannot be taken back."""

from __future__ import annotations

from typing import Annotated

from ikoma.apps.releases.release import Releases
from ikoma.apps.rollouts.way_out import find_waiting
from ikoma.capabilities.context import Call
from ikoma.kernel.registry import AppRequest, Loss, Result, Untrusted, capability, listed
from ikoma.model import Effect, Role


class Details(Result):
    release: str
    """The one that failed."""
    cause: str | None
    """Why."""
    backup: str
    """Backup the database is not taken back to; the file stays."""
    abandoned: bool
    """False where it could be taken back after all."""
    lost: Annotated[list[str], Untrusted("database", ours=True)]
    """In what the database differs from that backup."""


class ReleaseAbandonResult(Result):
    success: bool
    message: str
    details: Details


async def find_losses(call: Call, request: AppRequest) -> Loss:
    """The way back to the backup, and in which tables the database differs from it."""
    app = call.find_app(request.app_name)
    underway = find_waiting(app)
    differs = await call.platform.migrator.compare_with_backup(app, underway.backup or "")
    stays = f"the database of before {underway.release}: it stays as that release has left it"
    kept = (f"the file of the backup, {underway.backup}, where it is there", "what the database holds now")
    return Loss(f"Give up taking the database of {app.name} back to {underway.backup}.", (stays, *differs), kept)


@capability("release.abandon", role=Role.OPERATOR, effect=Effect.DESTROYS, loses=find_losses, rare=True)
@listed("releases", "release-abandon", "Go on where a database cannot be taken back.")
async def abandon(call: Call, request: AppRequest) -> ReleaseAbandonResult:
    """Let the database stay where a failed release's backup cannot be restored; start what served again.

    Use it only when a person agrees.
    """
    app = call.find_app(request.app_name)
    underway = find_waiting(app)
    loss = await find_losses(call, request)
    given_up = await call.platform.recovery.abandon(app) is not None
    failed = next((item for item in Releases(app).list_all() if item.id == underway.release), None)
    message = f"The database stays as it is: {underway.backup} was not restored."
    return ReleaseAbandonResult(
        success=True,
        message=message if given_up else f"Nothing was given up: the database equals {underway.backup} again.",
        details=Details(
            release=underway.release,
            cause=failed.cause if failed else None,
            backup=underway.backup or "",
            abandoned=given_up,
            lost=list(loss.lost) if given_up else [],
        ),
    )
