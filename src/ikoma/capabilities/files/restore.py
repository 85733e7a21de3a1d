"""files.restore: files as they were, before they were overwritten or in a release."""

from __future__ import annotations

import asyncio
from typing import Self

from pydantic import Field, model_validator

from ikoma.app_folder import App
from ikoma.apps.deploying.release_files import ReleaseFiles
from ikoma.apps.files import file_history, files
from ikoma.apps.releases.release import Releases
from ikoma.capabilities.context import Call
from ikoma.errors import Next
from ikoma.kernel.registry import AppRequest, Result, capability, listed
from ikoma.kernel.sentences import Fields, count
from ikoma.model import Effect, FilePath, ReleaseId, Role, make_printable

_MOST_NAMES = 100


class FilesRestoreRequest(AppRequest):
    path: FilePath | None = None
    """Default: all of the release."""
    version: str | None = Field(default=None, max_length=80)
    """From files.history; default: the newest."""
    release: ReleaseId | None = None
    """Restore this release's files."""

    @model_validator(mode="after")
    def says_what(self) -> Self:
        if self.release is None and self.path is None:
            raise ValueError('say a "path" that was overwritten or deleted, or a "release"')
        if self.release is not None and self.version is not None:
            raise ValueError('"version" is of files.history, and does not go with "release"')
        return self


class FilesRestoreResult(Result):
    path: str | None
    version: str | None
    size: int | None
    sha256: str | None
    release: str | None = None
    restored: list[str]
    """Paths that are as they were again; at most 100 are listed."""
    count: int
    """How many there are."""
    others: list[str]
    """Files that the release lacks, and that are left: files.delete takes them away. At most 100."""
    next: Next | None = Next("apps.validate")


def _say_restored(fields: Fields) -> str:
    if not fields.get("count"):
        return "All of it is so already."
    return f"Brought back {fields.get('path') or count(fields['count'], 'path')}."


@capability("files.restore", role=Role.BUILDER, effect=Effect.CHANGES, rare=True, undo="files.restore")
@listed(
    "files",
    "unrm",
    "Bring files back: overwritten, deleted, or of a release.",
    optional=("path", "version"),
    says=_say_restored,
)
async def restore(call: Call, request: FilesRestoreRequest) -> FilesRestoreResult:
    """Bring back overwritten or deleted files, or those of a release.

    What stands there now is kept for 30 days. Next: deploy.up.
    """
    app = call.find_app(request.app_name)
    if request.release is not None:
        return await _restore_release(call, app, request.release, request.path)
    assert request.path is not None
    back = await asyncio.to_thread(files.restore, app, request.path, request.version)
    return FilesRestoreResult(
        path=request.path,
        version=back.version,
        size=back.size,
        sha256=back.sha256,
        restored=[request.path],
        count=1,
        others=[],
    )


async def _restore_release(call: Call, app: App, release: ReleaseId, path: FilePath | None) -> FilesRestoreResult:
    kept = ReleaseFiles(app, Releases(app).find(release))
    found = await asyncio.to_thread(kept.compare, path)
    await asyncio.to_thread(file_history.prune, app)
    for number, name in enumerate(found.other):
        if number % max(1, len(found.other) // 100) == 0:
            call.progress("restore files", number / len(found.other))
        # One after another: whoever cancels this finds each as it was or as it is to be, and the same call goes on.
        await asyncio.to_thread(kept.put_back, name)
    return FilesRestoreResult(
        path=path,
        version=None,
        size=None,
        sha256=None,
        release=release,
        restored=[make_printable(name) for name in found.other[:_MOST_NAMES]],
        count=len(found.other),
        others=[make_printable(name) for name in found.added[:_MOST_NAMES]],
    )
