"""apps.init: the folder of a new app."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from pydantic import Field

from ikoma.app_folder import App
from ikoma.apps.files import files
from ikoma.apps.source import template
from ikoma.capabilities.context import Call
from ikoma.errors import HasComposeFile, Next, NotAdaptable
from ikoma.kernel.registry import NewAppRequest, Result, Sensitive, Untrusted, capability, listed
from ikoma.model import Effect, FilePath, Role

_LARGEST = 1 << 20


class AppsInitRequest(NewAppRequest):
    template: Literal["node", "python", "static", "dockerfile"] = "node"
    compose: Annotated[str | None, Sensitive("compose file")] = Field(default=None, max_length=_LARGEST)
    """In place of a template's; adapted as apps.adapt does."""


class AppsInitDetails(Result):
    path: str
    files: list[str]
    """Files made now, relative to path."""
    changes: Annotated[list[str], Untrusted("compose file", ours=True)] = Field(default_factory=list)
    """How the given compose file was changed."""
    left: Annotated[list[str], Untrusted("compose file", ours=True)] = Field(default_factory=list)
    """Parts that are still wrong."""


class AppsInitResult(Result):
    success: bool
    message: str
    details: AppsInitDetails
    next: Next | None = Next("apps.validate")


@capability(
    "apps.init",
    role=Role.BUILDER,
    effect=Effect.CHANGES,
    takes_files=True,
    idempotent=True,
    harmless="it adds what is missing, and touches nothing that is there",
)
@listed(
    "start", "init", "Create an app's folder from a template.", optional=("template",), from_files={"compose": "--from"}
)
async def init(call: Call, request: AppsInitRequest) -> AppsInitResult:
    """Create an app's folder from a template or a compose file of one's own.

    Called again, it only adds what is missing.

    Use it first for a new app. Next: files.write or source.clone, then apps.validate.
    """
    app = call.platform.apps.locate(request.app_name)
    if request.compose is not None:
        return await _begin_from_compose(call, app, request.compose)
    made = template.write(app, request.template)
    message = f"{app.name} is ready: put its source into {app.source}." if made else f"{app.name} had all its files."
    return AppsInitResult(success=True, message=message, details=AppsInitDetails(path=str(app.path), files=made))


async def _begin_from_compose(call: Call, app: App, compose: str) -> AppsInitResult:
    """Begin with a person's own compose file; as it was given it is kept in the file's history."""
    if app.compose_file.is_file() and app.read_inside(app.compose_file, _LARGEST + 1) != compose.encode():
        raise HasComposeFile(f"{app.name} has a compose file.")
    made = template.write(app, None)
    path = FilePath.parse(app.compose_file.name)
    await asyncio.to_thread(files.write, app, path, compose.encode(), expected=None, executable=None)
    changes, left = [], []
    try:
        found = await call.platform.adapter.adapt(app)
        await call.platform.adapter.write(app, found)
        changes, left = list(found.changes), list(found.left)
    except NotAdaptable as error:
        left = [error.message]
    message = f"{app.name} has your compose file{', with changes' if changes else ''}."
    details = AppsInitDetails(path=str(app.path), files=[*made, path], changes=changes, left=left)
    return AppsInitResult(success=True, message=message, details=details)
