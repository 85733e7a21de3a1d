"""apps.remove: take an app away, and keep what is needed to bring it back."""

from __future__ import annotations

from ikoma.apps import credentials
from ikoma.apps.folder import App
from ikoma.apps.release import now
from ikoma.apps.trash import TrashEntry
from ikoma.capabilities.context import Call
from ikoma.kernel.registry import AppRequest, Result, capability
from ikoma.model import Effect, Role


class Details(Result):
    trash: str
    backup: str | None


class Removed(Result):
    success: bool
    message: str
    details: Details


@capability("apps.remove", role=Role.ADMIN, effect=Effect.DESTROYS)
async def remove(call: Call, request: AppRequest) -> Removed:
    """Remove an app: its containers, networks, volumes, database and folder.

    Everything goes to the trash first: a dump of the database, the content of the volumes, the folder.
    """
    app = await call.app_or_remains(request.app_name)
    await call.platform.deployments.check_project(app)
    has_database = await call.platform.databases.owns(app.name)
    entry = call.platform.trash.entry(app)
    await _keep_volumes(call, app, entry)
    if has_database:
        await _keep_database(call, app, entry)
    with call.step("remove containers, networks and volumes"):
        await call.platform.engine.down(app.name, volumes=True, progress=call.progress)
    with call.step("remove the database"):
        await call.platform.databases.drop(app.name)
    credentials.forget(app)
    backup = str(entry.dump) if entry.dump.is_file() else None
    entry.describe(app=app.name, removedAt=now(), caller=call.caller.name, backup=backup)
    if app.exists:
        call.platform.trash.move_folder(app, entry)
    call.platform.health.forget(app)
    details = Details(trash=str(entry.path), backup=backup)
    return Removed(success=True, message=f"{app.name} was moved to the trash.", details=details)


async def _keep_volumes(call: Call, app: App, entry: TrashEntry) -> None:
    engine = call.platform.engine
    volumes = await engine.volumes(app.name)
    if volumes:
        await engine.stop(app.name, progress=call.progress)
    for name in volumes:
        if not entry.volume(name).is_file():
            with call.step(f"keep the volume {name}"):
                await engine.save_volume(app.name, name, entry.volume(name))


async def _keep_database(call: Call, app: App, entry: TrashEntry) -> None:
    if not entry.dump.is_file():  # an interrupted removal may have it already
        with call.step("keep the database"):
            await call.platform.databases.dump(app.name, entry.dump, progress=call.progress)
