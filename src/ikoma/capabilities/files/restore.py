"""files.restore: a file or folder as it was."""

from __future__ import annotations

import asyncio

from pydantic import Field

from ikoma.apps import files
from ikoma.capabilities.context import Call
from ikoma.kernel.registry import AppRequest, Result, capability
from ikoma.model import Effect, FilePath, Role


class Restore(AppRequest):
    path: FilePath
    version: str | None = Field(default=None, max_length=80)
    """From files.history; the newest when left out."""


class Restored(Result):
    path: str
    version: str
    size: int | None
    sha256: str | None


@capability("files.restore", role=Role.BUILDER, effect=Effect.CHANGES, rare=True, undo="files.restore")
async def restore(call: Call, request: Restore) -> Restored:
    """Bring a file or folder back that was overwritten or deleted. What stands there now is kept in its stead.

    Next: deploy.up.
    """
    back = await asyncio.to_thread(files.restore, call.app(request.app_name), request.path, request.version)
    return Restored(path=request.path, version=back.version, size=back.size, sha256=back.sha256)
