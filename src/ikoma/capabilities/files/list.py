"""files.list: what an app's folder holds."""

from __future__ import annotations

import asyncio
from functools import partial

from pydantic import Field

from ikoma.apps.deploying.release_files import ReleaseFiles
from ikoma.apps.files import files
from ikoma.apps.releases.release import Releases
from ikoma.capabilities.context import Call
from ikoma.kernel.registry import AppRequest, Result, capability, listed
from ikoma.kernel.requests import MOST_LISTED
from ikoma.kernel.sentences import count_field
from ikoma.model import Effect, FilePath, ReleaseId, Role


class FilesListRequest(AppRequest):
    path: FilePath | None = None
    """Default: the app's folder."""
    recursive: bool = False
    release: ReleaseId | None = None
    """As they were in that release."""
    limit: int = Field(default=200, ge=1, le=MOST_LISTED)


class FilesListEntry(Result):
    path: str
    type: str
    """file, folder, link or other."""
    size: int
    modified: str


class FilesListResult(Result):
    entries: list[FilesListEntry]
    truncated: bool
    """Whether there are more: a larger limit, or a folder further down, shows them."""


@capability("files.list", role=Role.BUILDER, effect=Effect.READS)
@listed(
    "files",
    "files",
    "List an app's files.",
    optional=("path",),
    says_more=True,
    says=count_field("entries", "entry", "entries"),
)
async def list_files(call: Call, request: FilesListRequest) -> FilesListResult:
    """List the files of an app's folder, or of a folder in it.

    Use it before reading or writing.
    """
    app = call.find_app(request.app_name)
    if request.release is None:
        look = partial(files.list_entries, app, request.path, recursive=request.recursive)
    else:
        kept = ReleaseFiles(app, Releases(app).find(request.release))
        look = partial(kept.list, request.path, recursive=request.recursive)
    found, truncated = await asyncio.to_thread(look)
    return FilesListResult(
        entries=[
            FilesListEntry(path=item.path, type=item.kind, size=item.size, modified=item.modified)
            for item in found[: request.limit]
        ],
        truncated=truncated or len(found) > request.limit,
    )
