"""apps.remove: take an app away, and keep what is needed to bring it back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import ClassVar

from ikoma.app_folder import App
from ikoma.apps.backups.holders import require_unheld
from ikoma.apps.database import credentials
from ikoma.apps.releases.release import format_now
from ikoma.apps.trash.entries import TrashEntry
from ikoma.capabilities.context import Call
from ikoma.errors import Next
from ikoma.kernel.page import Fact, ResultPage
from ikoma.kernel.registry import AppRequest, Loss, Result, capability, listed
from ikoma.model import Effect, Role, quote_name


class AppsRemoveDetails(Result):
    trash: str
    backup: str | None


class AppsRemoveResult(Result):
    next: Next | None = Next("apps.restore")
    page: ClassVar = ResultPage(
        says="{message}", facts=(Fact("kept in", "details.trash"), Fact("its database", "details.backup"))
    )
    success: bool
    message: str
    details: AppsRemoveDetails


async def find_losses(call: Call, request: AppRequest) -> Loss:
    """The containers, volumes, tables with their rows, and files that would go; and the backup that stays."""
    app = await call.find_app_or_remains(request.app_name)
    platform = call.platform
    replicas = (await platform.runtime.observe(app)).replicas
    lost = [f"container {item.name} ({item.state})" for item in replicas]
    lost += [f"volume {name}" for name in await platform.volumes.list_of(app)]
    owned = credentials.find(app)
    if owned and await platform.databases.owns(app.name):
        rows = await platform.databases.count_rows(owned)
        tables = [
            f"{quote_name(table)} ({'rows not counted' if count is None else f'{count} rows'})"
            for table, count in rows.items()
        ]
        lost.append(f"database {app.name.database}: {', '.join(tables) or 'no tables'}")
    lost.append(f"folder {app.path}")
    lost += [f"preview {item.name}" for item, _ in platform.previews.list_of(app)]
    if owned and (undo := await platform.databases.find_undo(app.name)) is not None:
        lost.append(str(undo))
    kept = (
        f"a copy of all of it in the trash, which apps.restore brings back within {platform.trash.days} days",
        *call.list_kept_of_database(app),
    )
    return Loss(f"Remove {app.name} with all its data.", tuple(lost), kept)


@capability("apps.remove", role=Role.ADMIN, effect=Effect.DESTROYS, idempotent=True, loses=find_losses)
@listed("server", "remove", "Move an app with its data to the trash.", typed_again="appName")
async def remove(call: Call, request: AppRequest) -> AppsRemoveResult:
    """Remove an app with its data and volumes. apps.restore brings it back.

    Use it only when a person wants the app gone; deploy.down merely stops it.
    """
    app = await call.find_app_or_remains(request.app_name)
    await call.platform.recovery.check_project(app)
    await require_unheld(call.platform.volumes, app.name, await call.platform.volumes.list_of(app))
    has_database = await call.platform.databases.owns(app.name)
    entry = call.platform.trash.begin_entry(app)
    await _keep_volumes(call, app, entry)
    tables = await _keep_database(call, app, entry) if has_database else {}
    waivers = [asdict(waiver) for waiver in call.platform.waivers.list_live(app.name)]
    with call.step("remove containers, networks and volumes"):
        await call.platform.runtime.remove(app, call.progress)
    with call.step("remove the database"):
        await call.platform.databases.drop(app.name)
    credentials.forget(app)
    backup = str(entry.dump) if entry.dump.exists() else None
    facts = {"tables": tables, "waivers": waivers}
    entry.describe(app=app.name, removedAt=format_now(), caller=call.caller.name, backup=backup, **facts)
    was_there = app.exists
    if was_there:
        call.platform.trash.move_folder(app, entry)
    await call.forget(app, releases=not was_there)
    message = f"{app.name} was moved to the trash. For {call.platform.trash.days} days apps.restore brings it back."
    details = AppsRemoveDetails(trash=str(entry.path), backup=backup)
    return AppsRemoveResult(success=True, message=message, details=details)


async def _keep_volumes(call: Call, app: App, entry: TrashEntry) -> None:
    volumes = call.platform.volumes
    names = await volumes.list_of(app)
    if names:
        await call.platform.runtime.stop(app, call.progress)
    made = await volumes.describe_all() if names else {}
    for name in names:
        if not entry.locate_volume(name).is_file():
            with call.step(f"keep the volume {name}"):
                if name in made:
                    entry.describe_volume(name, made[name])
                await volumes.save(app.name, name, entry.locate_volume(name))


async def _keep_database(call: Call, app: App, entry: TrashEntry) -> Mapping[str, int]:
    """Keep the app's database and its password; rows by table."""
    entry.keep_password(app)
    if not entry.dump.exists():  # an interrupted removal may have it already
        with call.step("keep the database"):
            dump = await call.platform.databases.dump(
                app.name, entry.dump, terminate_blockers=True, progress=call.progress
            )
            return dump.tables
    return {}
