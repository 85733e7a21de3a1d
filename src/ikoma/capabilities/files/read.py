"""files.read: a file of an app."""

from __future__ import annotations

import asyncio
import base64
from typing import Annotated, Literal

from pydantic import Field

from ikoma.apps.deploying.release_files import ReleaseFiles
from ikoma.apps.files import files
from ikoma.apps.releases.release import Releases
from ikoma.apps.secrets import app_secrets
from ikoma.capabilities.context import Call
from ikoma.kernel.redaction.redaction import list_encodings, redact
from ikoma.kernel.registry import AppRequest, Result, Untrusted, capability, listed
from ikoma.model import Effect, FilePath, ReleaseId, Role
from ikoma.readable import decode_text


class FilesReadRequest(AppRequest):
    path: FilePath | None = None
    """Default: the compose file."""
    encoding: Literal["utf-8", "base64"] | None = None
    """Default: utf-8 if it is text."""
    offset: int = Field(default=0, ge=0)
    """Byte to begin at."""
    limit: int = Field(default=65_536, ge=1, le=1_048_576)
    """The most bytes to read."""
    release: ReleaseId | None = None
    """As it was in that release."""


class FilesReadResult(Result):
    content: Annotated[str, Untrusted("file content")]
    encoding: str
    sha256: str
    """Hash of the whole file."""
    size: int
    truncated: bool
    next_offset: int | None
    """Where to go on."""


@capability("files.read", role=Role.BUILDER, effect=Effect.READS)
@listed("files", "cat", "Print a file of an app, byte for byte.", by_hand=True, text_alone=True)
async def read(call: Call, request: FilesReadRequest) -> FilesReadResult:
    """Read a file of an app, or a part of it. Secrets in .env are not readable.

    Use it before changing a file.
    """
    app = call.find_app(request.app_name)
    secrets: tuple[str, ...] = ()
    if request.release is None:
        path = request.path or FilePath(app.compose_file.name)
        piece = await asyncio.to_thread(files.read, app, path, offset=request.offset, limit=request.limit)
    else:
        release = Releases(app).find(request.release)
        kept = ReleaseFiles(app, release)
        path = request.path or FilePath(kept.compose_file or app.compose_file.name)
        piece = await asyncio.to_thread(kept.read, path, offset=request.offset, limit=request.limit)
        secrets = list_encodings(app_secrets.find_of_release(app, release))
    end = request.offset + len(piece.content)
    text = None if request.encoding == "base64" else decode_text(piece.content, is_part=end < piece.size)
    if text is not None:
        end = request.offset + len(text.encode())
    return FilesReadResult(
        content=base64.b64encode(piece.content).decode() if text is None else redact(text, secrets),
        encoding="base64" if text is None else "utf-8",
        sha256=piece.sha256,
        size=piece.size,
        truncated=end < piece.size,
        next_offset=end if end < piece.size else None,
    )
