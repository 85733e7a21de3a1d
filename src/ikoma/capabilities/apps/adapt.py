"""apps.adapt: what an app's compose file would become here, and writing it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ikoma.capabilities.context import Call
from ikoma.kernel.registry import AppRequest, Result, Untrusted, capability, listed
from ikoma.model import Effect, Role


class AppsAdaptRequest(AppRequest):
    service: str | None = Field(default=None, max_length=200)
    """Where several could answer requests."""
    write: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    """The `sha256` that was shown: write those changes."""


class AppsAdaptAdaptedFile(Result):
    path: str
    diff: Annotated[str, Untrusted("compose file")]


class AppsAdaptResult(Result):
    changes: Annotated[list[str], Untrusted("compose file", ours=True)]
    """Changes to the compose file, in words."""
    files: list[AppsAdaptAdaptedFile]
    left: Annotated[list[str], Untrusted("compose file", ours=True)]
    """Parts to mend by hand."""
    sha256: str | None
    """Give it as `write`; None where nothing is to be changed."""
    written: bool


@capability("apps.adapt", role=Role.BUILDER, effect=Effect.CHANGES, undo="files.restore")
@listed("start", "adapt", "Show what an app's compose file would become here, and write it.")
async def adapt(call: Call, request: AppsAdaptRequest) -> AppsAdaptResult:
    """Show what an app's compose file would become: own proxies left out, the answering service named; or write it.

    Use it where apps.validate says so. files.restore undoes it.
    """
    app, adapter = call.find_app(request.app_name), call.platform.adapter
    found = await adapter.adapt(app, request.service)
    if request.write is not None:
        adapter.require_seen(found, request.write)
        await adapter.write(app, found)
    return AppsAdaptResult(
        changes=list(found.changes),
        files=[AppsAdaptAdaptedFile(path=item.path, diff=item.diff) for item in found.files],
        left=list(found.left),
        sha256=found.sha256 if found.files else None,
        written=request.write is not None,
    )
