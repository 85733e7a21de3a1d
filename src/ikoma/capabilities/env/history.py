"""env.history: which former values of variables are kept."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from pydantic import Field

from ikoma.apps.environment import variable_history
from ikoma.capabilities.context import Call
from ikoma.compose.variable_names import VariableName
from ikoma.kernel.page import Column, ResultPage
from ikoma.kernel.registry import AppRequest, Result, capability, listed
from ikoma.kernel.sentences import count_field
from ikoma.model import Effect, Role


class EnvHistoryRequest(AppRequest):
    name: VariableName | None = None
    """Default: of all."""
    limit: int = Field(default=50, ge=1, le=500)


class EnvHistoryVersion(Result):
    version: str
    until: str
    """When other values took their place."""
    names: list[str]


class EnvHistoryResult(Result):
    page: ClassVar = ResultPage(
        rows="versions",
        columns=(Column("version"), Column("replaced", "until", "time"), Column("variables", "names", cut=True)),
        empty="No value was changed in the last 30 days.",
    )
    versions: list[EnvHistoryVersion]
    truncated: bool
    """Whether there are more: a larger limit shows them."""


@capability("env.history", role=Role.BUILDER, effect=Effect.READS, rare=True)
@listed(
    "variables",
    "env-history",
    "List which former values of variables are kept.",
    optional=("name",),
    says=count_field("versions", "version"),
)
async def history(call: Call, request: EnvHistoryRequest) -> EnvHistoryResult:
    """List which former values of variables are kept, newest first. Next: env.restore."""
    found = await asyncio.to_thread(variable_history.list_former, call.find_app(request.app_name), request.name)
    listed = [EnvHistoryVersion.model_validate(item, from_attributes=True) for item in found[: request.limit]]
    return EnvHistoryResult(versions=listed, truncated=len(found) > request.limit)
