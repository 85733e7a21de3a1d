"""env.set: give an app's variable a value."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ikoma.capabilities.context import Call
from ikoma.capabilities.env.list import EnvNames
from ikoma.compose.variable_names import VariableName
from ikoma.kernel.registry import AppRequest, Sensitive, capability, listed
from ikoma.model import Effect, Role


class EnvSetRequest(AppRequest):
    name: VariableName
    value: Annotated[str, Sensitive("environment variable")] = Field(max_length=100_000)


@capability("env.set", role=Role.BUILDER, effect=Effect.CHANGES, idempotent=True, undo="env.restore")
@listed(
    "variables",
    "env-set",
    "Set a variable of an app.",
    not_in_text=("names",),
    says=lambda fields: f"Set. The app has {', '.join(fields.get('names') or [])}.",
)
async def set_value(call: Call, request: EnvSetRequest) -> EnvNames:
    """Set an environment variable of an app in its .env. The value is never shown again.

    It reaches services that name it, as ${NAME} or by `env_file: .env`. Next: deploy.up.
    """
    return EnvNames(names=await call.open_env_file(request.app_name).put(request.name, request.value))
