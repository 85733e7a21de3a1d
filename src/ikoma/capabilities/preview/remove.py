"""preview.remove: end a preview."""

from __future__ import annotations

from ikoma.app_folder import App
from ikoma.apps.resolution import preview_files
from ikoma.capabilities.context import Call
from ikoma.errors import PreviewNotFound
from ikoma.kernel.registry import AppRequest, Result, capability, listed
from ikoma.model import AppName, Effect, GitRef, Role


class PreviewRemoveRequest(AppRequest):
    ref: GitRef
    """As deploy.preview was given it."""

    @property
    def locked(self) -> AppName:
        return preview_files.name_preview(self.app_name, self.ref)


class PreviewRemoveResult(Result):
    success: bool
    message: str


@capability(
    "preview.remove",
    role=Role.OPERATOR,
    effect=Effect.CHANGES,
    rare=True,
    harmless="a preview is a copy that ends by itself; deploy.preview makes it anew",
)
@listed("previews", "preview-remove", "End a preview.")
async def remove(call: Call, request: PreviewRemoveRequest) -> PreviewRemoveResult:
    """End a preview; its containers, volumes, files and copy of the database."""
    item = call.platform.apps.locate(request.locked)
    if preview_files.read(item) is None:
        raise PreviewNotFound(f"{request.app_name} has no preview of {request.ref}.")
    await take_away(call, item)
    return PreviewRemoveResult(success=True, message=f"The preview of {request.ref} has ended.")


async def take_away(call: Call, item: App) -> None:
    """Remove all that a preview is; what was cut off is done again by the next call."""
    platform = call.platform
    await platform.recovery.check_project(item)
    await platform.runtime.remove(item, call.progress)
    await platform.previews.remove_data(item)
    await call.forget(item)
