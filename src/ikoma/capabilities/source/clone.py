"""source.clone: an app's source from a git repository."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ikoma.apps.git import SourceUrl
from ikoma.apps.source import Recorded
from ikoma.capabilities.context import Call
from ikoma.kernel.registry import AppRequest, Result, Sensitive, capability
from ikoma.model import Effect, FilePath, GitRef, Role, Secret


class Clone(AppRequest):
    url: str = Field(max_length=500)
    """https://HOST/PATH or ssh://USER@HOST/PATH."""
    ref: GitRef = GitRef("HEAD")
    """Branch, tag or commit."""
    path: FilePath | None = None
    """Only this folder of it."""
    token: Annotated[str | None, Sensitive("token")] = Field(default=None, max_length=2000)
    """For a private repository."""
    depth: int = Field(default=1, ge=1, le=50)
    overwrite: bool = False
    """Move what else is in src/ aside."""
    timeout: int = Field(default=300, ge=1, le=3600)


class Brought(Result):
    commit: str
    ref: str
    url: str
    entries: list[str]
    """What stands in src/ now."""

    @classmethod
    def of(cls, recorded: Recorded) -> Brought:
        return cls(commit=recorded.commit, ref=recorded.ref, url=recorded.url, entries=sorted(recorded.entries))


@capability("source.clone", role=Role.BUILDER, effect=Effect.CHANGES, open_world=True)
async def clone(call: Call, request: Clone) -> Brought:
    """Bring the source of a git repository into an app's src/. Hosts must be allowed.

    Use it where the source is in a repository. Next: apps.validate, then deploy.up.
    """
    return Brought.of(
        await call.platform.sources.bring(
            call.app(request.app_name),
            SourceUrl.parse(request.url),
            request.ref,
            path=request.path,
            token=Secret(request.token) if request.token else None,
            depth=request.depth,
            overwrite=request.overwrite,
            caller=call.caller.name,
            timeout=request.timeout,
            progress=call.progress,
        )
    )
