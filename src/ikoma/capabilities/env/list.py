"""env.list: the names of an app's variables."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from ikoma.capabilities.context import Call
from ikoma.compose.model import EMPTY
from ikoma.errors import IkomaError, Next
from ikoma.kernel.page import ResultPage
from ikoma.kernel.registry import AppRequest, Result, capability, listed
from ikoma.kernel.requests import MOST_LISTED
from ikoma.kernel.sentences import count_field
from ikoma.model import Effect, Role


class EnvListRequest(AppRequest):
    limit: int = Field(default=200, ge=1, le=MOST_LISTED)


class EnvNames(Result):
    page: ClassVar = ResultPage(says="It is done; the next deploy takes it.", text="names")
    names: list[str]
    """Names of the variables in the app's .env, as Compose reads them."""
    next: Next | None = Next("apps.validate")


class EnvListResult(Result):
    names: list[str]
    """Names of the variables in the app's .env, as Compose reads them."""
    services: dict[str, list[str]]
    """Names of the variables that each service's containers get: of all its files and of the compose file."""
    truncated: bool
    """Whether there are more: a larger limit shows them."""


@capability("env.list", role=Role.OBSERVER, effect=Effect.READS)
@listed("variables", "env-list", "List the names of an app's variables.", says=count_field("names", "variable"))
async def list_names(call: Call, request: EnvListRequest) -> EnvListResult:
    """List the names of an app's environment variables, never their values."""
    app = call.find_app(request.app_name)
    names = await call.open_env_file(app.name).list_names()
    try:
        model = (await call.platform.resolutions.resolve(app)).model or EMPTY
    except IkomaError:  # without a compose file, or without Docker, there are variables too
        model = EMPTY
    given = {name: sorted(service.environment) for name, service in model.services.items()}
    return EnvListResult(
        names=names[: request.limit],
        services={name: of_it[: request.limit] for name, of_it in given.items()},
        truncated=max(map(len, (names, *given.values()))) > request.limit,
    )
