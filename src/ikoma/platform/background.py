"""Work that the server does by itself, under its supervisor.

What it does to apps goes through the pipeline, like the calls of a person.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

import orjson

from ikoma.app_folder import App
from ikoma.apps.app import Apps, log_failures
from ikoma.apps.backups.making import AppBackupMaker
from ikoma.apps.backups.restoring import AppBackupRestorer
from ikoma.apps.deploying.deployer import DeployOptions
from ikoma.apps.environment import variable_history
from ikoma.apps.files import file_history
from ikoma.apps.importing.importer import Importer
from ikoma.apps.resolution.preview_files import Preview
from ikoma.apps.schedules.runs import ScheduleRun
from ikoma.apps.schedules.schedule import Schedule
from ikoma.apps.trash.entries import Trash
from ikoma.apps.trash.restoring import AppRestorer
from ikoma.errors import AppBusy, DiskFull, IkomaError, StartRefused
from ikoma.kernel.access.caller import CARETAKER, Caller, make_schedule_caller
from ikoma.kernel.call import Attempt
from ikoma.kernel.events import Event, EventKind, Severity
from ikoma.kernel.locks import Holder, Locks
from ikoma.kernel.operations.operations import Operations
from ikoma.kernel.pipeline import Pipeline
from ikoma.model import AppName
from ikoma.ports.databases import Databases
from ikoma.ports.progress import Progress
from ikoma.ports.runtime import Runtime
from ikoma.postgres.archive.archive import drop_slot
from ikoma.postgres.server.server import PostgresServer

log = logging.getLogger("ikoma")

_GATEWAY_PAUSE = 5.0
_PRUNE_SECONDS = 3600.0
_MOST_TRIES = 3
_START_SECONDS = 300.0
_TRASH_SECONDS, _TRASH_AGAIN_SECONDS = 60.0, 2.0
_LONGEST_PAUSE = 15.0


async def sweep_databases(databases: Databases) -> None:
    with suppress(IkomaError):  # where PostgreSQL is away, the next start does it
        await databases.sweep()


async def end_archive(server: PostgresServer) -> None:
    """Let PostgreSQL keep nothing for an archive that was switched off."""
    with suppress(IkomaError):  # as above
        await drop_slot(server)


async def sweep_backups(maker: AppBackupMaker) -> None:
    """Remove what killed servers have left of backups that they were making."""
    with log_failures("backups that were cut off"):  # where Docker is away, the next backup does it
        await maker.sweep()


async def end_holds(
    maker: AppBackupMaker, apps: Apps, alone: Callable[[AppName], AbstractAsyncContextManager[Progress]]
) -> None:
    """Let go on what a killed server has paused for a backup; a backup that is under way holds its app."""
    while True:
        held = await asyncio.to_thread(maker.writers.list_held, apps)
        for app in held:
            with log_failures(app.name), suppress(AppBusy):
                async with alone(app.name) as progress:
                    progress("let go on what was paused")
                    await maker.writers.end_hold(app)
                log.warning("%s: what was paused for a backup that was cut off goes on", app.name)
        await asyncio.sleep(_TRASH_AGAIN_SECONDS if held else _TRASH_SECONDS)


async def drop_former_databases(databases: Databases) -> None:
    """Drop the copies of databases from before a restore that were kept long enough."""
    while True:
        with log_failures("former databases"):
            for name in await databases.drop_expired_copies():
                log.info("%s: the copy of its database from before a restore has had its week", name)
        await asyncio.sleep(_PRUNE_SECONDS)


async def prune_versions(apps: Apps) -> None:
    """Let go of the files and variables of before that were kept long enough, also of apps that nobody touches."""
    while True:
        for name in apps.list_names():
            with log_failures(name):
                await asyncio.to_thread(file_history.prune, apps.locate(name), unfinished=False)
                await asyncio.to_thread(variable_history.prune, apps.locate(name))
        await asyncio.sleep(_PRUNE_SECONDS)


@asynccontextmanager
async def hold_alone(locks: Locks, operations: Operations, app: AppName) -> AsyncIterator[Progress]:
    """Hold an app for what IKOMA does by itself: an operation, so that who waits for it can see it."""
    holder = Holder("ikoma.settle", secrets.token_hex(12), own=True)
    async with (
        locks.hold(app, holder, patience=0),
        operations.begin_own(holder.operation, holder.capability, app) as progress,
    ):
        yield progress


async def roll_back(pipeline: Pipeline, app: App, to: str, reason: str) -> None:
    """Leave a release that turned unhealthy, by the call that a person would make: it is audited like any other."""
    await _call(pipeline, "deploy.rollback", {"appName": app.name, "to": to, "reason": reason, "failed": True})


async def remove_preview(pipeline: Pipeline, preview: Preview) -> None:
    await _call(pipeline, "preview.remove", {"appName": preview.of, "ref": preview.ref})


async def look_after_trash(pipeline: Pipeline, trash: Trash, restorer: AppRestorer) -> None:
    """Go on with what killed servers were bringing back, and delete what was kept long enough: by the usual calls."""
    while True:
        cut_off = await asyncio.to_thread(restorer.list_cut_off)
        for entry in cut_off:
            if (intent := entry.find_intent()) is not None:
                arguments = {"appName": entry.app, "id": entry.id, "as": intent.app}
                with log_failures(entry.id), suppress(AppBusy):  # somebody looks at the app at this moment
                    await _call(pipeline, "apps.restore", arguments)
        for entry in await asyncio.to_thread(trash.list_expired):
            with log_failures(entry.id):
                await _call(pipeline, "trash.delete", {"id": entry.id})
        await asyncio.sleep(_TRASH_AGAIN_SECONDS if cut_off else _TRASH_SECONDS)


async def finish_restores(
    pipeline: Pipeline,
    apps: Apps,
    restorer: AppBackupRestorer,
    alone: Callable[[AppName], AbstractAsyncContextManager[Progress]],
) -> None:
    """Go on with the restores of whole apps whose server was killed, by the usual call, a few times.

    An app whose restore has failed before anything was replaced serves again, once that can be.
    """
    tries: Counter[AppName] = Counter()
    pause = _TRASH_AGAIN_SECONDS
    while True:
        given_up = await asyncio.to_thread(restorer.list_given_up, apps)
        for app in given_up:
            with log_failures(app.name), suppress(AppBusy):
                async with alone(app.name) as progress:
                    await restorer.serve_again(app, DeployOptions(CARETAKER.name, _START_SECONDS, progress))
        cut_off = await asyncio.to_thread(restorer.list_cut_off, apps)
        for app, note in cut_off:
            if tries[app.name] >= _MOST_TRIES:
                continue
            with log_failures(app.name), suppress(AppBusy):  # it is under way
                arguments = {"appName": app.name, "backupName": note.backup}
                log.warning("%s: the restore of %s was cut off, and goes on", app.name, note.backup)
                tries[app.name] += 1
                try:
                    await _call(pipeline, "apps.restore", arguments)
                except (AppBusy, DiskFull):  # it ends once there is room, whenever that is
                    tries[app.name] -= 1
                    raise
        if given_up or cut_off:
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        else:
            pause = _TRASH_AGAIN_SECONDS
            await restorer.wait_until_left(_TRASH_SECONDS)


async def take_back_imports(
    importer: Importer,
    alone: Callable[[AppName], AbstractAsyncContextManager[Progress]],
    publish: Callable[[Event], None],
) -> None:
    """Undo imports whose server was killed; one that is under way holds its app, and is left alone."""
    while True:
        cut_off = await asyncio.to_thread(importer.list_cut_off)
        for app in cut_off:
            with log_failures(app.name), suppress(AppBusy):
                async with alone(app.name) as progress:
                    progress("undo the import")
                    done = await importer.settle(app)
                if done is not None:
                    log.warning("%s: %s", app.name, done)
                    publish(Event(EventKind.FAILED, Severity.ERROR, app.name, capability="apps.import", message=done))
        await asyncio.sleep(_TRASH_AGAIN_SECONDS if cut_off else _TRASH_SECONDS)


async def perform_scheduled(
    pipeline: Pipeline, app: AppName, run: ScheduleRun, schedule: Schedule
) -> Mapping[str, Any]:
    """Make the call of a schedule, as the operation of the run; its result."""
    caller = make_schedule_caller(app, schedule.name, schedule.capability)
    arguments = schedule.make_arguments(app)
    body = await _call(pipeline, schedule.capability, arguments, caller=caller, operation=run.operation)
    result: Mapping[str, Any] = orjson.loads(body)
    return result


async def back_up(pipeline: Pipeline, app: AppName, run: ScheduleRun) -> Mapping[str, Any]:
    """Make the backup of an app, or of the server, for the night; the result of the call."""
    caller = make_schedule_caller(app, run.schedule, "backup.create")
    body = await _call(pipeline, "backup.create", {"appName": app}, caller=caller, operation=run.operation)
    result: Mapping[str, Any] = orjson.loads(body)
    return result


async def _call(
    pipeline: Pipeline,
    capability: str,
    arguments: Mapping[str, Any],
    *,
    caller: Caller = CARETAKER,
    operation: str | None = None,
) -> bytes:
    async def read(limit: int) -> Mapping[str, Any]:
        return arguments

    identity = operation or secrets.token_hex(12)
    return (await pipeline.execute(Attempt(capability, None, None, identity, read, caller=caller))).body


async def follow_server_address(runtime: Runtime, server: PostgresServer) -> None:
    """Lets PostgreSQL listen where containers reach it, also when Docker starts after us."""
    while True:
        await asyncio.sleep(_GATEWAY_PAUSE)
        await tell_server_address(runtime, server)


async def tell_server_address(runtime: Runtime, server: PostgresServer) -> None:
    try:
        await server.set_app_address((await runtime.read_version()).server_address)
    except StartRefused as error:
        log.error("PostgreSQL could not be restarted: %s", error.message)
    except IkomaError as error:  # away, or starting: then it refuses
        log.info("Docker does not answer yet: %s", error.message)
