"""files.edit: replace a text in a file of an app."""

from __future__ import annotations

import asyncio
from typing import Annotated, ClassVar

from pydantic import Field

from ikoma.apps.files import files
from ikoma.capabilities.context import Call
from ikoma.capabilities.files.write import WRITTEN
from ikoma.errors import InvalidArguments, Next
from ikoma.kernel.registry import AppRequest, Result, Sensitive, capability, listed
from ikoma.model import Effect, FilePath, Role


class FilesEditRequest(AppRequest):
    path: FilePath
    old: Annotated[str, Sensitive("file content")] = Field(min_length=1)
    """Stands in the file once."""
    new: Annotated[str, Sensitive("file content")]
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """Only if the file still has this."""


class FilesEditResult(Result):
    page: ClassVar = WRITTEN
    path: str
    size: int
    sha256: str
    next: Next | None = Next("apps.validate")


@capability("files.edit", role=Role.BUILDER, effect=Effect.CHANGES, takes_files=True, undo="files.restore")
@listed(
    "files",
    "edit",
    "Replace a text in a file of an app.",
    not_in_text=("path",),
    says=lambda fields: f"Edited {fields.get('path')}.",
)
async def edit(call: Call, request: FilesEditRequest) -> FilesEditResult:
    """Replace a text in a file of an app. Next: apps.validate, deploy.up."""
    app = call.find_app(request.app_name)
    try:
        piece = await asyncio.to_thread(
            files.edit, app, request.path, request.old, request.new, expected=request.sha256
        )
    except UnicodeEncodeError:  # half a surrogate pair
        raise InvalidArguments("old and new: are not text.") from None
    return FilesEditResult(path=request.path, size=piece.size, sha256=piece.sha256)
