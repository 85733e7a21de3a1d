"""files.delete: take a file or folder out of an app."""

from __future__ import annotations

import asyncio

from ikoma.apps.files import files
from ikoma.capabilities.context import Call
from ikoma.errors import Next
from ikoma.kernel.registry import AppRequest, Result, capability, listed
from ikoma.model import Effect, FilePath, Role


class FilesDeleteRequest(AppRequest):
    path: FilePath
    recursive: bool = False
    """Needed for a folder that is not empty."""


class FilesDeleteResult(Result):
    path: str
    size: int
    sha256: str | None
    """None for a folder or a link."""
    next: Next | None = Next("apps.validate")


@capability("files.delete", role=Role.BUILDER, effect=Effect.CHANGES, idempotent=True, rare=True, undo="files.restore")
@listed(
    "files",
    "rm",
    "Delete a file of an app.",
    not_in_text=("path",),
    says=lambda fields: f"Deleted {fields.get('path')}.",
)
async def delete(call: Call, request: FilesDeleteRequest) -> FilesDeleteResult:
    """Delete a file of an app, or with recursive a folder. It is kept for 30 days: files.restore brings it back.

    Use it for files that are in the way.
    """
    app = call.find_app(request.app_name)
    gone = await asyncio.to_thread(files.delete, app, request.path, recursive=request.recursive)
    return FilesDeleteResult(
        path=request.path, size=gone.size if gone else 0, sha256=(gone.sha256 or None) if gone else None
    )
