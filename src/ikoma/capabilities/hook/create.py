"""hook.create: let a git host deploy an app by its pushes."""

from __future__ import annotations

from functools import partial
from typing import Annotated, ClassVar

from pydantic import Field, field_validator, model_validator

from ikoma.apps.source import checkout, webhook
from ikoma.apps.source.webhook import StatusTarget
from ikoma.capabilities.context import Call
from ikoma.capabilities.hook.remove import describe_lost_secret
from ikoma.kernel.page import Fact, ResultPage
from ikoma.kernel.registry import AppRequest, Loss, Result, Sensitive, capability, listed
from ikoma.model import Effect, GitRef, Role, Secret


class HookCreateRequest(AppRequest):
    branch: GitRef = GitRef("main")
    secret: Annotated[str | None, Sensitive("webhook secret")] = Field(default=None, min_length=16, max_length=500)
    """If the git host has made one."""
    status_token: Annotated[str | None, Sensitive("token")] = Field(default=None, min_length=8, max_length=2000)
    """May write commit statuses."""
    status_url: str | None = Field(default=None, max_length=500, pattern=r"^https://[^\s?#@]+$")
    """The git host's API."""

    @field_validator("branch")
    @classmethod
    def is_a_branch(cls, branch: GitRef) -> GitRef:
        if branch.startswith("refs/"):
            raise ValueError("is the name of a branch alone, such as main")
        GitRef.parse(f"refs/heads/{branch}")
        return branch

    @model_validator(mode="after")
    def address_needs_a_token(self) -> HookCreateRequest:
        if self.status_url and not self.status_token:
            raise ValueError("statusUrl needs a statusToken")
        return self


class HookCreateResult(Result):
    page: ClassVar = ResultPage(
        says="Pushes to {branch} deploy it, once the git host knows this address and this secret.",
        facts=(Fact("address", "url"), Fact("secret")),
        warning="The secret is shown this once: give it to the git host now.",
    )
    url: str
    """Where the git host posts to, at this server's address."""
    secret: Annotated[str, Sensitive("webhook secret")]
    """Shown this once."""
    branch: str


async def find_losses(call: Call, request: HookCreateRequest) -> Loss | None:
    """The secret of the webhook that there is."""
    app = call.find_app(request.app_name)
    return describe_lost_secret(app) if webhook.find(app) else None


@capability("hook.create", role=Role.ADMIN, effect=Effect.CHANGES, loses=find_losses, needs_approval=True, rare=True)
@listed("git", "hook-create", "Let pushes to a git host deploy an app.")
async def create(call: Call, request: HookCreateRequest) -> HookCreateResult:
    """Make the webhook by which pushes to a branch deploy an app; a former one ends. Its secret is shown once."""
    app = call.find_app(request.app_name)
    checkout.require(app)
    token = Secret(request.status_token) if request.status_token else None
    make = partial(
        call.platform.hooks.create,
        app,
        request.branch,
        caller=call.caller.name,
        secret=Secret(request.secret) if request.secret else None,
        statuses=StatusTarget(token, request.status_url) if token else None,
    )
    hook = await call.platform.hooks.change(make)
    return HookCreateResult(url=f"/hooks/{app.name}", secret=hook.secret.reveal(), branch=hook.branch)
