"""source.token: a token of an app's own, for private repositories over https."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from ikoma.apps.source import access
from ikoma.apps.source.access import SourcePlace, SourceToken
from ikoma.capabilities.context import Call
from ikoma.kernel.page import Fact, ResultPage
from ikoma.kernel.registry import AppRequest, Loss, Result, Sensitive, capability, listed
from ikoma.model import Effect, Role, Secret


class SourceTokenRequest(AppRequest):
    host: SourcePlace
    """Or a group or repository on it."""
    token: Annotated[str | None, Sensitive("token")] = Field(default=None, min_length=8, max_length=2000)
    user: str | None = Field(default=None, pattern="^[A-Za-z0-9._@+-]{1,100}$")
    """If the host wants one."""
    remove: bool = False

    @model_validator(mode="after")
    def says_one_thing(self) -> SourceTokenRequest:
        if self.remove is (self.token is not None):
            raise ValueError("give token, or remove: true")
        return self


class SourceTokenResult(Result):
    page: ClassVar = ResultPage(says="It is done.", facts=(Fact("it has tokens for", "hosts", empty="nothing"),))
    hosts: list[str]
    """Hosts the app has tokens for. The tokens are never shown."""


async def find_losses(call: Call, request: SourceTokenRequest) -> Loss | None:
    """The token that is kept for that place."""
    app = call.find_app(request.app_name)
    known = access.read_tokens(app).get(request.host)
    if known is None or known.secret.reveal() == request.token:
        return None
    return Loss(f"Forget a token of {app.name}.", (f"the token for {request.host}, which is shown to nobody",))


@capability("source.token", role=Role.BUILDER, effect=Effect.CHANGES, loses=find_losses, rare=True)
@listed("git", "source-token", "Keep a token for an app's private repositories.", unseen={"token": "remove"})
async def token(call: Call, request: SourceTokenRequest) -> SourceTokenResult:
    """Keep a token that fetches an app's private repositories over https.

    Next: source.clone.
    """
    given = SourceToken(Secret(request.token), request.user) if request.token else None
    return SourceTokenResult(hosts=access.keep_token(call.find_app(request.app_name), request.host, given))
