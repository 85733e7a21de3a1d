"""env.list: the names of an app's variables."""

from __future__ import annotations

from ikoma.apps import env_file
from ikoma.capabilities.context import Call
from ikoma.kernel.registry import AppRequest, Result, capability
from ikoma.model import Effect, Role


class Names(Result):
    names: list[str]


@capability("env.list", role=Role.OBSERVER, effect=Effect.READS)
async def list_names(call: Call, request: AppRequest) -> Names:
    """List the names of an app's environment variables, never their values.

    Use it to see what is set. Next: env.set for what is missing.
    """
    return Names(names=env_file.names(call.app(request.app_name)))
