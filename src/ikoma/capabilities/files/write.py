"""files.write: put a file into an app."""

from __future__ import annotations

import asyncio
import base64
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ikoma.apps.files import files
from ikoma.capabilities.context import Call
from ikoma.errors import InvalidArguments, Next
from ikoma.kernel.page import Fact, ResultPage
from ikoma.kernel.registry import AppRequest, Result, Sensitive, capability, listed
from ikoma.model import Effect, FilePath, Role


class FilesWriteRequest(AppRequest):
    path: FilePath
    content: Annotated[str, Sensitive("file content")]
    encoding: Literal["utf-8", "base64"] = "utf-8"
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """Only if the file still has this."""
    executable: bool | None = None


WRITTEN = ResultPage(says="{path} is written.", facts=(Fact("size", kind="size"), Fact("SHA-256", "sha256")))


class FilesWriteResult(Result):
    page: ClassVar = WRITTEN
    path: str
    size: int
    sha256: str
    next: Next | None = Next("apps.validate")


@capability(
    "files.write", role=Role.BUILDER, effect=Effect.CHANGES, takes_files=True, idempotent=True, undo="files.restore"
)
@listed(
    "files",
    "put",
    "Write a file of an app, from stdin or a file.",
    by_hand=True,
    not_in_text=("path",),
    says=lambda fields: f"Wrote {fields.get('path')}.",
)
async def write(call: Call, request: FilesWriteRequest) -> FilesWriteResult:
    """Write a file of an app, whole; folders on the way are made. Source goes under src/, SQL under migrations/.

    Use it to put source in or mend it. Next: apps.validate, then deploy.up.
    """
    app = call.find_app(request.app_name)
    written = await asyncio.to_thread(
        files.write,
        app,
        request.path,
        _decode_content(request),
        expected=request.sha256,
        executable=request.executable,
    )
    return FilesWriteResult(path=request.path, size=written.size, sha256=written.sha256)


def _decode_content(request: FilesWriteRequest) -> bytes:
    try:
        if request.encoding == "base64":
            return base64.b64decode(request.content, validate=True)
        return request.content.encode()
    except ValueError:  # half a surrogate pair, or no base64
        raise InvalidArguments(f"content: is not {request.encoding}.") from None
