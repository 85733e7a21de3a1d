"""files.list: what an app's folder holds."""

from __future__ import annotations

import asyncio

from ikoma.apps import files
from ikoma.capabilities.context import Call
from ikoma.kernel.registry import AppRequest, Result, capability
from ikoma.model import Effect, FilePath, Role


class List(AppRequest):
    path: FilePath | None = None
    """A folder; the app's own when left out."""
    recursive: bool = False


class Entry(Result):
    path: str
    type: str
    """file, folder, link or other."""
    size: int
    modified: str


class Listed(Result):
    entries: list[Entry]
    truncated: bool
    """True when there are more than a thousand: list a folder further down."""


@capability("files.list", role=Role.BUILDER, effect=Effect.READS)
async def list_files(call: Call, request: List) -> Listed:
    """List the files of an app's folder, or of a folder in it.

    Use it before reading or writing.
    """
    app = call.app(request.app_name)
    found, truncated = await asyncio.to_thread(files.entries, app, request.path, recursive=request.recursive)
    return Listed(
        entries=[Entry(path=item.path, type=item.kind, size=item.size, modified=item.modified) for item in found],
        truncated=truncated,
    )
