"""env.import: a whole .env at once."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ikoma.capabilities.context import Call
from ikoma.capabilities.env.list import EnvNames
from ikoma.kernel.registry import AppRequest, Sensitive, Untrusted, capability, listed
from ikoma.model import Effect, Role


class EnvImportRequest(AppRequest):
    content: Annotated[str, Sensitive("a .env file")] = Field(max_length=1 << 20)


class EnvImportResult(EnvNames):
    replaced: list[str]
    """Names whose former value is in the file no more: they have another one, or are gone."""
    former: str | None
    """Where the file of before is kept on the server for 30 days; its name before .env is env.restore's version."""
    warnings: Annotated[list[str], Untrusted(".env", ours=True)]
    """Values that may be read otherwise than they were meant."""


@capability("env.import", role=Role.BUILDER, effect=Effect.CHANGES, idempotent=True, rare=True, undo="env.restore")
@listed("variables", "env-import", "Take a whole .env file for an app.", from_files={"content": "--from"})
async def import_file(call: Call, request: EnvImportRequest) -> EnvImportResult:
    """Replace an app's whole .env, or nothing where a line is wrong."""
    imported = await call.open_env_file(request.app_name).replace(request.content)
    doubts = imported.variables.doubts
    return EnvImportResult(
        names=list(imported.variables.values),
        replaced=list(imported.replaced),
        former=imported.former,
        warnings=[f"{doubt.place}: {doubt.problem} {doubt.fix}" for doubt in doubts],
    )
