"""apps.restore: bring a removed app back, or an app to one of its backups."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import ClassVar, Self

from pydantic import Field, model_validator

from ikoma.app_folder import App
from ikoma.apps.backups.folder import AppBackup
from ikoma.apps.backups.names import AppBackupName
from ikoma.apps.database.restoring import list_losses
from ikoma.apps.deploying.deployer import DeployOptions
from ikoma.apps.routing.maintenance import is_maintained
from ikoma.apps.source import webhook
from ikoma.apps.trash.entries import TrashEntry
from ikoma.apps.trash.restoring import RestoredApp
from ikoma.capabilities.context import Call
from ikoma.errors import AppNameTaken, IkomaError, Next
from ikoma.kernel.page import Fact, ResultPage
from ikoma.kernel.registry import AppRequest, Loss, Result, capability, listed, make_optional
from ikoma.model import AppName, Effect, Role
from ikoma.moments import parse_moment

_START_SECONDS = 300.0


class AppsRestoreRequest(AppRequest):
    id: str | None = Field(default=None, max_length=120)
    """From trash.list; by default the newest."""
    as_: AppName | None = Field(default=None, alias="as")
    backup_name: AppBackupName | None = None
    plan: bool = False

    @model_validator(mode="after")
    def is_one_thing(self) -> Self:
        if self.backup_name is not None and (self.id is not None or self.as_ is not None):
            raise ValueError("backupName brings an app that is there back to a backup: leave `id` and `as` out")
        if self.plan and self.backup_name is None:
            raise ValueError("plan goes with backupName")
        return self

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
    before: str | None = make_optional()
    """With `backupName`: the backup of what was there."""


class AppsRestoreResult(Result):
    page: ClassVar = ResultPage(
        says="{message}",
        facts=(Fact("folder", "details.path"), Fact("not as it was", "details.left"), Fact("before", "details.before")),
    )
    success: bool
    message: str
    details: AppsRestoreDetails
    next: Next | None = None


async def find_losses(call: Call, request: AppsRestoreRequest) -> Loss | None:
    """All that was written since the backup; it stays in another one."""
    if request.backup_name is None or request.plan:
        return None
    await call.platform.backup_return.ensure(request.app_name, request.backup_name, call.progress)
    app, backup = _find(call, request.backup_name, request)
    replaced = await call.platform.backup_restorer.list_losses(app, backup)
    kept = ("all of it as it is now, in a backup that is made before", "what is not in the backup")
    return Loss(f"Restore {backup.name} over {app.name}.", tuple(replaced), kept)


@capability("apps.restore", role=Role.ADMIN, effect=Effect.CHANGES, loses=find_losses, undo="apps.remove")
@listed("server", "restore", "Bring a removed app back, or an app to a backup.", not_over_mcp=("id",))
async def restore(call: Call, request: AppsRestoreRequest) -> AppsRestoreResult:
    """Bring a removed app back, or `as` another; or an app to a whole backup."""
    if request.backup_name is not None:
        return await _go_back(call, request.backup_name, request)
    app = call.platform.apps.locate(request.locked)
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


async def _go_back(call: Call, name: AppBackupName, request: AppsRestoreRequest) -> AppsRestoreResult:
    """Take an app that is there to a backup of the whole."""
    await call.platform.backup_return.ensure(request.app_name, name, call.progress)
    app, backup = _find(call, name, request)
    if request.plan:
        return await _tell(call, app, backup)
    options = DeployOptions(call.caller.name, _START_SECONDS, call.progress, reason=f"{name} was restored")
    done = await call.platform.backup_restorer.restore(app, backup, options)
    served = f" It serves release {done.release}." if done.release else " It is stopped."
    return AppsRestoreResult(
        success=True,
        message=f"{app.name} is as in {name} of {backup.created_at}.{served} {done.before} holds what was there.",
        details=AppsRestoreDetails(
            path=str(app.path),
            release=done.release,
            tables=dict(done.tables),
            volumes=list(done.volumes),
            left=list(done.left),
            before=done.before,
        ),
        next=Next("apps.status") if done.release else Next("deploy.up"),
    )


async def _tell(call: Call, app: App, backup: AppBackup) -> AppsRestoreResult:
    compared = await call.platform.backup_restorer.compare(app, backup)
    lost = list_losses(compared)
    rows = f" Rows that go: {'; '.join(lost)}." if lost else " No table has more rows now."
    replaced = await call.platform.backup_restorer.list_losses(app, backup)
    return AppsRestoreResult(
        success=True,
        message=f"Nothing was changed. {backup.name} is of {backup.created_at}.{rows} All is backed up before.",
        details=AppsRestoreDetails(
            path=str(app.path),
            release=backup.release,
            tables={item.name: item.backup for item in compared if item.backup is not None},
            volumes=list(backup.volumes),
            left=[f"Replaced: {line}." for line in replaced],
        ),
    )


def _find(call: Call, name: AppBackupName, request: AppsRestoreRequest) -> tuple[App, AppBackup]:
    app = call.find_app(request.app_name)
    return app, call.platform.app_backups.find(app.name, name)


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
