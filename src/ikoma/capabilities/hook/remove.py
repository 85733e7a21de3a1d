"""hook.remove: pushes deploy no more."""

from __future__ import annotations

from functools import partial

from ikoma.app_folder import App
from ikoma.apps.source import webhook
from ikoma.capabilities.context import Call
from ikoma.kernel.registry import AppRequest, Loss, Result, capability, listed
from ikoma.model import Effect, Role


class HookRemoveResult(Result):
    success: bool
    message: str


def describe_lost_secret(app: App) -> Loss:
    """The secret of an app's webhook, as a person is told of it."""
    hook = webhook.require(app)
    lost = f"the secret of its webhook, by which pushes to {hook.branch} deploy: the git host needs the next one"
    return Loss(f"End the webhook of {app.name}.", (lost,))


async def find_losses(call: Call, request: AppRequest) -> Loss:
    """The secret that nobody can show again."""
    return describe_lost_secret(call.find_app(request.app_name))


@capability("hook.remove", role=Role.ADMIN, effect=Effect.DESTROYS, loses=find_losses, rare=True)
@listed("git", "hook-remove", "Let pushes deploy an app no more.")
async def remove(call: Call, request: AppRequest) -> HookRemoveResult:
    """End an app's webhook."""
    app = call.find_app(request.app_name)
    webhook.require(app)
    await call.platform.hooks.change(partial(call.platform.hooks.remove, app))
    return HookRemoveResult(success=True, message=f"Pushes do not deploy {app.name} any more.")
