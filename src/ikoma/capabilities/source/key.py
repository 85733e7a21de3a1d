"""source.key: a deploy key of an app's own, for private repositories over ssh."""

from __future__ import annotations

from typing import ClassVar

from ikoma.app_folder import App
from ikoma.apps.source import access, checkout
from ikoma.apps.source.access import SourcePlace
from ikoma.apps.source.url import SourceUrl
from ikoma.capabilities.context import Call
from ikoma.errors import InvalidArguments
from ikoma.kernel.page import ResultPage
from ikoma.kernel.registry import AppRequest, Loss, Result, capability, listed
from ikoma.model import Effect, Role


class SourceKeyRequest(AppRequest):
    host: SourcePlace | None = None
    """Or a repository: github.com/you/shop. Default: the source's."""
    anew: bool = False
    """Replace the key."""


class SourceKeyResult(Result):
    page: ClassVar = ResultPage(
        says="The deploy key for {host} ({created}); add it there as a read-only key:",
        either={"created": ("made", "the one it has")},
        is_plain=True,
        text="publicKey",
    )
    public_key: str
    """Paste it into the git host as a deploy key that may only read."""
    host: str
    created: bool
    """Whether it was made now."""


async def find_losses(call: Call, request: SourceKeyRequest) -> Loss | None:
    """The key that is there, where another is to take its place."""
    app = call.find_app(request.app_name)
    place = _place(app, request)
    if not (request.anew and access.has_key(app, place)):
        return None
    return Loss(f"Replace a deploy key of {app.name}.", (f"the key for {place}: the git host must learn the next one",))


@capability("source.key", role=Role.BUILDER, effect=Effect.CHANGES, loses=find_losses, rare=True)
@listed(
    "git", "source-key", "Show an app's deploy key for a git host; make it where there is none.", optional=("host",)
)
async def key(call: Call, request: SourceKeyRequest) -> SourceKeyResult:
    """The public half of an app's deploy key for a git host; the key is made where there is none.

    Next: source.clone with an ssh address.
    """
    app = call.find_app(request.app_name)
    place = _place(app, request)
    public, is_new = access.obtain_public_key(app, place, anew=request.anew)
    return SourceKeyResult(public_key=public, host=place, created=is_new)


def _place(app: App, request: SourceKeyRequest) -> SourcePlace:
    if request.host is not None:
        return request.host
    known = checkout.read_record(app)
    if known is None:
        raise InvalidArguments("host: is missing.", hint="Name the git host, such as github.com.")
    return SourcePlace(SourceUrl.parse(known.url).host)
