"""hook.deploy: what an app's webhook does, and all that it can do.

It deploys what the branch holds when its turn comes, whichever commit was pushed: of several pushes the newest counts,
and a delivery that somebody kept cannot bring an old commit back.
"""

from __future__ import annotations

from pydantic import Field

from ikoma.apps import hooks
from ikoma.capabilities.context import Call
from ikoma.capabilities.deploy.up import Details, Up, up
from ikoma.capabilities.source.checkout import Checkout, checkout
from ikoma.kernel.registry import AppRequest, Result, capability
from ikoma.model import Effect, Role


class Deploy(AppRequest):
    commit: str | None = Field(default=None, pattern="^[0-9a-f]{40,64}$")
    """The one that was pushed, for the record."""


class Deployed(Result):
    success: bool
    message: str
    commit: str
    details: Details


@capability("hook.deploy", role=Role.BUILDER, effect=Effect.CHANGES, open_world=True, queued=True, rare=True)
async def deploy(call: Call, request: Deploy) -> Deployed:
    """Check out what the branch of an app's webhook holds now, and deploy it, as a push would.

    It waits its turn; a newer call takes the place of one that waits.
    """
    branch = hooks.require(call.app(request.app_name)).ref
    brought = await checkout(call, Checkout.model_validate({"appName": request.app_name, "ref": branch}))
    reason = f"{branch} at {brought.commit}"
    deployed = await up(call, Up.model_validate({"appName": request.app_name, "reason": reason}))
    message = deployed.message
    if request.commit not in (None, brought.commit):
        message = f"{message} {request.commit} was pushed, but {branch} is at {brought.commit}."
    return Deployed(success=True, message=message, commit=brought.commit, details=deployed.details)
