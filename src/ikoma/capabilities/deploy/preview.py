"""deploy.preview: another ref of an app's source beside the app, for a time."""

from __future__ import annotations

import asyncio
from typing import Annotated

from pydantic import Field

from ikoma.app_folder import App
from ikoma.apps.resolution import preview_files as previews
from ikoma.apps.resolution.preview_files import Preview
from ikoma.apps.source import checkout
from ikoma.apps.source.checkout import CheckoutRequest
from ikoma.apps.source.url import SourceUrl
from ikoma.capabilities.context import Call
from ikoma.capabilities.deploy.up import DeployUpRequest, DeployUpResult, MoreVariables, up
from ikoma.capabilities.preview.remove import take_away
from ikoma.errors import IkomaError, PreviewOfPreview
from ikoma.kernel.registry import AppRequest, Result, Sensitive, Untrusted, capability, listed
from ikoma.model import AppName, Effect, GitRef, Role, Secret


class DeployPreviewRequest(AppRequest):
    ref: GitRef
    """Branch, tag or commit."""
    hours: int = Field(default=72, ge=1, le=720)
    """Until it ends by itself."""
    database: bool = True
    """With a copy of the app's database."""
    anew: bool = False
    """Copy the database once more."""
    env: MoreVariables = Field(default_factory=dict)
    """More variables."""
    token: Annotated[str | None, Sensitive("token")] = Field(default=None, max_length=2000)
    """For a private repository."""
    timeout: int = Field(default=300, ge=1, le=3600)
    """Seconds until all must be healthy."""

    @property
    def locked(self) -> AppName:
        """The preview: the app itself is only looked at, and must be free for a rollback meanwhile."""
        return previews.name_preview(self.app_name, self.ref)


class DeployPreviewDetails(Result):
    preview: str
    """Name of the preview: whatever takes an app's name takes it."""
    ref: str
    commit: str
    release: str
    database: bool
    """Whether it has a copy of the app's database."""
    migrations: list[str]
    """Migrations applied to the copy."""
    warnings: Annotated[list[str], Untrusted("findings", ours=True)]
    urls: list[str]
    expires_at: str


class DeployPreviewResult(Result):
    success: bool
    message: str
    details: DeployPreviewDetails


@capability(
    "deploy.preview",
    role=Role.OPERATOR,
    effect=Effect.CHANGES,
    open_world=True,
    rare=True,
    harmless="a preview is a copy, and touches nothing of its app",
)
@listed("previews", "preview", "Deploy another ref beside an app, for a time.")
async def preview(call: Call, request: DeployPreviewRequest) -> DeployPreviewResult:
    """Deploy another ref of an app beside it, with its own copy of the database.

    It ends by itself; the same ref again updates it and puts its end off. Next: preview.list.
    """
    app, platform = call.find_app(request.app_name), call.platform
    if app.name.previewed is not None:
        raise PreviewOfPreview(f"{app.name} is a preview itself.")
    known = checkout.require(app)
    report = await platform.validator.examine(app, images=False)
    model = report.model or report.refuse_errors()
    item, record, is_new = platform.previews.open(app, request.ref, hours=request.hours, caller=call.caller.name)
    try:
        with call.step("copy the app's files"):
            await platform.previews.copy_files(app, model, item)
        commit = await _bring(call, request, known, item)
        if request.database:
            record = await platform.previews.copy_database(app, item, record, anew=request.anew, progress=call.progress)
        deployed = await _deploy(call, request, item, commit)
    except BaseException as error:
        if is_new:  # nothing of it has served yet
            if isinstance(error, IkomaError):
                error.next = ()  # nobody can look at what goes
            await asyncio.shield(take_away(call, item))
        raise
    return _answer(record, commit, deployed)


async def _bring(call: Call, request: DeployPreviewRequest, known: checkout.SourceRecord, item: App) -> str:
    wanted = CheckoutRequest(
        url=SourceUrl.parse(known.url),
        ref=request.ref,
        path=known.path,
        token=Secret(request.token) if request.token else None,
        into=known.into,
        overwrite=True,
        of=call.find_app(request.app_name),
    )
    brought = await call.platform.sources.bring(
        item, wanted, caller=call.caller.name, timeout=request.timeout, progress=call.progress
    )
    return brought.recorded.commit


async def _deploy(call: Call, request: DeployPreviewRequest, item: App, commit: str) -> DeployUpResult:
    arguments = {
        "appName": item.name,
        "env": {"IKOMA_PREVIEW_NAME": item.name, **request.env},
        "reason": f"preview of {request.ref} at {commit}",
        "timeout": request.timeout,
    }
    deployed: DeployUpResult = await up(call, DeployUpRequest.model_validate(arguments))
    return deployed


def _answer(record: Preview, commit: str, deployed: DeployUpResult) -> DeployPreviewResult:
    details = DeployPreviewDetails(
        preview=record.name,
        ref=record.ref,
        commit=commit,
        release=deployed.details.release,
        database=record.database,
        migrations=deployed.details.migrations,
        warnings=deployed.details.warnings,
        urls=deployed.details.urls,
        expires_at=record.expires_at,
    )
    return DeployPreviewResult(success=True, message=f"{record.ref} is served as {record.name}.", details=details)
