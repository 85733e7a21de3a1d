"""env.restore: a variable's former value."""

from __future__ import annotations

from pydantic import Field, model_validator

from ikoma.capabilities.context import Call
from ikoma.capabilities.env.list import EnvNames
from ikoma.compose.variable_names import VariableName
from ikoma.kernel.registry import AppRequest, capability, listed
from ikoma.model import Effect, Role


class EnvRestoreRequest(AppRequest):
    name: VariableName | None = None
    """Default: all of the version."""
    version: str | None = Field(default=None, max_length=80)
    """From env.history; default: the newest that differs."""

    @model_validator(mode="after")
    def says_what(self) -> EnvRestoreRequest:
        if self.name is None and self.version is None:
            raise ValueError("give name, version or both")
        return self


@capability("env.restore", role=Role.BUILDER, effect=Effect.CHANGES, rare=True, undo="env.restore")
@listed(
    "variables",
    "env-restore",
    "Bring back a former value of a variable.",
    optional=("name", "version"),
    not_in_text=("names",),
    says=lambda fields: f"Brought back. The app has {', '.join(fields.get('names') or []) or 'no variable'}.",
)
async def restore(call: Call, request: EnvRestoreRequest) -> EnvNames:
    """Bring back a former value of a variable, unseen. The present one is kept in its stead. Next: deploy.up."""
    return EnvNames(names=await call.open_env_file(request.app_name).restore(request.name, request.version))
