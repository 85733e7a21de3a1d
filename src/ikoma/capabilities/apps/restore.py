"""apps.restore: bring a removed app back."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import ClassVar

from pydantic import Field

from ikoma.app_folder import App
from ikoma.apps.deploying.deployer import DeployOptions
from ikoma.apps.routing.maintenance import is_maintained
from ikoma.apps.source import webhook
from ikoma.apps.trash.entries import TrashEntry
from ikoma.apps.trash.restoring import RestoredApp
from ikoma.capabilities.context import Call
from ikoma.errors import AppNameTaken, IkomaError, Next
from ikoma.kernel.page import Fact, ResultPage
from ikoma.kernel.registry import AppRequest, Result, capability, listed
from ikoma.model import AppName, Effect, Role, parse_moment

_START_SECONDS = 300.0


class AppsRestoreRequest(AppRequest):
    id: str | None = Field(default=None, max_length=120)
    """From trash.list; by default the newest."""
    as_: AppName | None = Field(default=None, alias="as")

    @property
    def locked(self) -> AppName:
        return self.as_ or self.app_name


class AppsRestoreDetails(Result):
    path: str
    release: str | None
    """The release that serves again."""
    tables: dict[str, int]
    """Rows of each table."""
    volumes: list[str]
    left: list[str]
    """Differences that are left, and what to do."""


class AppsRestoreResult(Result):
    page: ClassVar = ResultPage(
        says="{message}", facts=(Fact("folder", "details.path"), Fact("not as it was", "details.left"))
    )
    success: bool
    message: str
    details: AppsRestoreDetails
    next: Next | None = None


@capability("apps.restore", role=Role.ADMIN, effect=Effect.CHANGES, undo="apps.remove")
@listed("server", "restore", "Bring a removed app back.", not_over_mcp=("id",))
async def restore(call: Call, request: AppsRestoreRequest) -> AppsRestoreResult:
    """Bring a removed app back as it was, or `as` another."""
    app = call.platform.apps.at(request.locked)
    call.caller.check_app(app.name)
    if app.name.previewed is not None:
        raise AppNameTaken(f"{app.name} is a name of previews.")
    entry = call.platform.trash.find_of(request.app_name, request.id)
    with call.platform.restorer.hold(entry):
        has_hook = webhook.find(App(entry.app, entry.folder)) is not None
        back = await call.platform.restorer.bring_back(entry, app, call.progress)
        await _grant_waivers(call, entry, app)
        if is_maintained(app):
            call.platform.routes.begin_maintenance(app)
        left = [*entry.lost, *(["its webhook: hook.create makes one"] if has_hook and entry.app != app.name else [])]
        release, trouble = await _start(call, back)
        await call.platform.restorer.finish(entry, app)
    served = f" It serves release {release} again." if release else ""
    message = f"{app.name} is back.{served}{' ' + trouble if trouble else ''}"
    return AppsRestoreResult(
        success=True,
        message=message,
        details=AppsRestoreDetails(
            path=str(app.path),
            release=release,
            tables=dict(back.tables),
            volumes=list(back.volumes),
            left=left,
        ),
        next=Next("apps.status") if release else Next("deploy.up"),
    )


async def _start(call: Call, back: RestoredApp) -> tuple[str | None, str]:
    """Let the release serve again that did; the app is back whatever comes of it."""
    if not back.start:
        return None, "deploy.up deploys it."
    options = DeployOptions(call.caller.name, _START_SECONDS, call.progress)
    try:
        release, _ = await call.platform.deployer.serve_again(back.app, options)
    except IkomaError as error:
        return None, f"Its release does not serve: {error.audit_message} deploy.up deploys it anew."
    return release.id, ""


async def _grant_waivers(call: Call, entry: TrashEntry, app: App) -> None:
    """Grant the waivers again that have not ended; the admin who calls answers for them."""
    waivers = call.platform.waivers
    known = {(item.rule, item.expires_at) for item in waivers.list_live(app.name)}
    for kept in entry.waivers:
        rule, expires_at = kept["rule"], kept["expires_at"]
        if (rule, expires_at) not in known and parse_moment(expires_at) > datetime.now(UTC):
            grant = partial(waivers.grant, app.name, rule, kept["reason"])
            await waivers.change(partial(grant, caller=kept["caller"], expires_at=expires_at))
