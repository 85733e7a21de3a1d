"""Work that the server does by itself, under its supervisor.

What it does to apps goes through the pipeline, like the calls of a person.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from ikoma.app_folder import App
from ikoma.apps.app import Apps, log_failures
from ikoma.apps.environment import variable_history
from ikoma.apps.files import file_history
from ikoma.apps.resolution.preview_files import Preview
from ikoma.engines.compose.engine import ComposeEngine
from ikoma.errors import IkomaError, StartRefused
from ikoma.kernel.access.callers import CARETAKER
from ikoma.kernel.call import Attempt
from ikoma.kernel.locks import Holder, Locks
from ikoma.kernel.operations.operations import Operations
from ikoma.kernel.pipeline import Pipeline
from ikoma.model import AppName
from ikoma.ports.databases import Databases
from ikoma.ports.progress import Progress
from ikoma.postgres.server.embedded import EmbeddedPostgres
from ikoma.postgres.server.external import ExternalPostgres

log = logging.getLogger("ikoma")

_GATEWAY_PAUSE = 5.0
_PRUNE_SECONDS = 3600.0


async def sweep_databases(databases: Databases) -> None:
    with suppress(IkomaError):  # where PostgreSQL is away, the next start does it
        await databases.sweep()


async def prune_versions(apps: Apps) -> None:
    """Let go of the files and variables of before that were kept long enough, also of apps that nobody touches."""
    while True:
        for name in apps.list_names():
            with log_failures(name):
                await asyncio.to_thread(file_history.prune, apps.at(name), unfinished=False)
                await asyncio.to_thread(variable_history.prune, apps.at(name))
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


async def _call(pipeline: Pipeline, capability: str, arguments: Mapping[str, Any]) -> None:
    async def read(limit: int) -> Mapping[str, Any]:
        return arguments

    await pipeline.execute(Attempt(capability, None, None, secrets.token_hex(12), read, caller=CARETAKER))


async def follow_gateway(engine: ComposeEngine, server: EmbeddedPostgres | ExternalPostgres) -> None:
    """Lets PostgreSQL listen where containers reach it, also when Docker starts after us."""
    while True:
        await asyncio.sleep(_GATEWAY_PAUSE)
        await tell_gateway(engine, server)


async def tell_gateway(engine: ComposeEngine, server: EmbeddedPostgres | ExternalPostgres) -> None:
    try:
        await server.set_gateway((await engine.read_version()).gateway)
    except StartRefused as error:
        log.error("PostgreSQL could not be restarted: %s", error.message)
    except IkomaError as error:  # away, or starting: then it refuses
        log.info("Docker does not answer yet: %s", error.message)
