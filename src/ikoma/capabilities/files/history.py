"""files.history: what is kept of files that were overwritten or deleted."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from pydantic import Field

from ikoma.apps.files import file_history
from ikoma.capabilities.context import Call
from ikoma.kernel.page import Column, ResultPage
from ikoma.kernel.registry import AppRequest, Result, capability, listed
from ikoma.kernel.sentences import count_field
from ikoma.model import Effect, FilePath, Role


class FilesHistoryRequest(AppRequest):
    path: FilePath | None = None
    """Default: of all."""
    limit: int = Field(default=50, ge=1, le=1000)


class FilesHistoryVersion(Result):
    version: str
    path: str
    kind: str
    """file, folder or link."""
    happened: str
    """overwritten or deleted."""
    at: str
    size: int | None
    sha256: str | None


class FilesHistoryResult(Result):
    page: ClassVar = ResultPage(
        rows="versions",
        columns=(
            Column("version"),
            Column("path", cut=True),
            Column("happened"),
            Column("when", "at", "time"),
            Column("kind", spare=True),
            Column("size", kind="size", right=True, spare=True),
        ),
        empty="Nothing was overwritten or deleted in the last 30 days.",
    )
    versions: list[FilesHistoryVersion]
    truncated: bool
    """Whether there are more: a larger limit shows them."""


@capability("files.history", role=Role.BUILDER, effect=Effect.READS, rare=True)
@listed(
    "files",
    "history",
    "List what is kept of overwritten and deleted files.",
    optional=("path",),
    says=count_field("versions", "version"),
)
async def history(call: Call, request: FilesHistoryRequest) -> FilesHistoryResult:
    """List former versions of an app's overwritten or deleted files, newest first.

    Next: files.restore.
    """
    found = await asyncio.to_thread(file_history.list_versions, call.find_app(request.app_name), request.path)
    listed = [FilesHistoryVersion.model_validate(item, from_attributes=True) for item in found[: request.limit]]
    return FilesHistoryResult(versions=listed, truncated=len(found) > request.limit)
