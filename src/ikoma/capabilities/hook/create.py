"""hook.create: let a git host deploy an app by its pushes."""

from __future__ import annotations

from typing import Annotated

from pydantic import field_validator

from ikoma.apps import source
from ikoma.capabilities.context import Call
from ikoma.kernel.registry import AppRequest, Result, Sensitive, capability
from ikoma.model import Effect, GitRef, Role


class Create(AppRequest):
    branch: GitRef = GitRef("main")

    @field_validator("branch")
    @classmethod
    def is_a_branch(cls, branch: GitRef) -> GitRef:
        if branch.startswith("refs/"):
            raise ValueError("is the name of a branch alone, such as main")
        GitRef.parse(f"refs/heads/{branch}")
        return branch


class Created(Result):
    url: str
    """Where the git host posts to, at this server's address."""
    secret: Annotated[str, Sensitive("webhook secret")]
    """Shown this once."""
    branch: str


@capability("hook.create", role=Role.ADMIN, effect=Effect.CHANGES, needs_approval=True, rare=True)
async def create(call: Call, request: Create) -> Created:
    """Make the webhook by which pushes to a branch deploy an app; a former one ends. Its secret is shown once."""
    app = call.app(request.app_name)
    source.require(app)
    hook = call.platform.hooks.create(app, request.branch, caller=call.caller.name)
    return Created(url=f"/hooks/{app.name}", secret=hook.secret.reveal(), branch=hook.branch)
