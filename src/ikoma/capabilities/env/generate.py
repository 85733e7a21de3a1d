"""env.generate: a secret that nobody sees."""

from __future__ import annotations

import secrets
from typing import Literal

from pydantic import Field

from ikoma.capabilities.context import Call
from ikoma.capabilities.env.list import EnvNames
from ikoma.compose.variable_names import VariableName
from ikoma.errors import VariableExists
from ikoma.kernel.registry import AppRequest, capability, listed
from ikoma.model import Effect, Role


class EnvGenerateRequest(AppRequest):
    name: VariableName
    bits: int = Field(default=256, ge=128, le=4096)
    form: Literal["base64url", "hex"] = "base64url"
    replace: bool = False
    """Also where it has a value."""


@capability("env.generate", role=Role.BUILDER, effect=Effect.CHANGES, undo="env.restore")
@listed("variables", "env-generate", "Give a variable a random value that nobody sees.")
async def generate(call: Call, request: EnvGenerateRequest) -> EnvNames:
    """Give a variable of an app's .env a random value that nobody sees.

    Next: deploy.up.
    """
    file = call.open_env_file(request.app_name)
    if not request.replace and request.name in await file.list_names():
        raise VariableExists(f"{request.app_name} has a variable {request.name} already.")
    size = (request.bits + 7) // 8
    value = secrets.token_hex(size) if request.form == "hex" else secrets.token_urlsafe(size)
    return EnvNames(names=await file.put(request.name, value))
