"""source.clone: an app's source from a git repository."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from ikoma.app_folder import App
from ikoma.apps.source import checkout
from ikoma.apps.source.checkout import CheckoutRequest
from ikoma.apps.source.url import SourceUrl
from ikoma.capabilities.context import Call
from ikoma.kernel.page import Fact, ResultPage
from ikoma.kernel.registry import AppRequest, Result, Sensitive, capability, listed
from ikoma.model import Effect, FilePath, GitRef, Role, Secret, make_printable

if TYPE_CHECKING:
    from ikoma.capabilities.source.checkout import SourceCheckoutRequest


class SourceCloneRequest(AppRequest):
    url: str = Field(max_length=500)
    """https://HOST/PATH or ssh://USER@HOST/PATH."""
    ref: GitRef = GitRef("HEAD")
    """Branch, tag or commit."""
    path: FilePath | None = None
    """Only this folder of it."""
    into: Literal["app", "src"] | None = None
    token: Annotated[str | None, Sensitive("token")] = Field(default=None, max_length=2000)
    """For a private repository."""
    depth: int = Field(default=1, ge=1, le=50)
    overwrite: bool = False
    """Move aside what else is there."""
    timeout: int = Field(default=300, ge=1, le=3600)


class SourceCloneResult(Result):
    page: ClassVar = ResultPage(
        says="{ref} is in {into}.",
        facts=(Fact("commit"), Fact("repository", "url"), Fact("what was there", "kept")),
        lists={"files": "entries", "left out": "left"},
    )
    commit: str
    ref: str
    url: str
    into: str
    """app or src: what of the app is the repository's."""
    entries: list[str]
    """Entries directly in the repository."""
    left: list[str]
    """Paths of it that did not come: .env and data are the server's."""
    kept: str | None
    """Where on the server is what was moved aside."""

    @classmethod
    def of(cls, brought: checkout.CheckoutResult) -> SourceCloneResult:
        recorded = brought.recorded
        return cls(
            commit=recorded.commit,
            ref=recorded.ref,
            url=recorded.url,
            into=recorded.into,
            entries=sorted({make_printable(path.split("/")[0]) for path in recorded.files}),
            left=[make_printable(path) for path in brought.left],
            kept=brought.kept,
        )


@capability("source.clone", role=Role.BUILDER, effect=Effect.CHANGES, open_world=True, undo="source.checkout")
@listed("git", "clone", "Bring a git repository into an app.", optional=("ref",))
async def clone(call: Call, request: SourceCloneRequest) -> SourceCloneResult:
    """Bring a git repository into an app: all of it where it holds a compose file, else src/.

    Next: apps.validate, then deploy.up.
    """
    app = call.find_app(request.app_name)
    return await bring(call, app, request, url=request.url, path=request.path, into=request.into)


async def bring(
    call: Call,
    app: App,
    how: SourceCloneRequest | SourceCheckoutRequest,
    *,
    url: str,
    path: str | None,
    into: str | None,
) -> SourceCloneResult:
    """Bring this folder of a repository into an app."""
    wanted = CheckoutRequest(
        url=SourceUrl.parse(url),
        ref=how.ref,
        path=path,
        token=Secret(how.token) if how.token else None,
        into=into,
        depth=how.depth,
        overwrite=how.overwrite,
    )
    progress, caller = call.progress, call.caller.name
    brought = await call.platform.sources.bring(app, wanted, caller=caller, timeout=how.timeout, progress=progress)
    return SourceCloneResult.of(brought)
