"""env.unset: take an app's variable away."""

from __future__ import annotations

from ikoma.capabilities.context import Call
from ikoma.capabilities.env.list import EnvNames
from ikoma.compose.variable_names import VariableName
from ikoma.kernel.registry import AppRequest, capability, listed
from ikoma.model import Effect, Role


class EnvUnsetRequest(AppRequest):
    name: VariableName


@capability("env.unset", role=Role.BUILDER, effect=Effect.CHANGES, rare=True, undo="env.restore")
@listed(
    "variables",
    "env-unset",
    "Remove a variable of an app.",
    not_in_text=("names",),
    says=lambda fields: f"Unset. The app has {', '.join(fields.get('names') or []) or 'no variable'}.",
)
async def unset(call: Call, request: EnvUnsetRequest) -> EnvNames:
    """Remove an environment variable of an app from its .env. env.restore brings it back."""
    return EnvNames(names=await call.open_env_file(request.app_name).remove(request.name))
