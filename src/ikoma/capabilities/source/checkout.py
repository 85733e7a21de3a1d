"""source.checkout: another commit of the repository an app's source came from."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ikoma.apps.source import checkout as source_checkout
from ikoma.capabilities.context import Call
from ikoma.capabilities.source.clone import SourceCloneResult, bring
from ikoma.kernel.registry import AppRequest, Sensitive, capability, listed
from ikoma.model import Effect, GitRef, Role


class SourceCheckoutRequest(AppRequest):
    ref: GitRef
    """Branch, tag or commit."""
    token: Annotated[str | None, Sensitive("token")] = Field(default=None, max_length=2000)
    depth: int = Field(default=1, ge=1, le=50)
    overwrite: bool = False
    """Move what was changed aside."""
    timeout: int = Field(default=300, ge=1, le=3600)


@capability("source.checkout", role=Role.BUILDER, effect=Effect.CHANGES, open_world=True, undo="source.checkout")
@listed("git", "checkout", "Bring an app to another commit of its repository.")
async def checkout(call: Call, request: SourceCheckoutRequest) -> SourceCloneResult:
    """Bring an app's source to another branch, tag or commit of its repository.

    Next: apps.validate, then deploy.up.
    """
    app = call.find_app(request.app_name)
    known = source_checkout.require(app)
    return await bring(call, app, request, url=known.url, path=known.path, into=known.into)
