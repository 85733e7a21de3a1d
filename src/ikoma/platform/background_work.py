"""Starts, under the supervisor, what the server does by itself."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

from ikoma.apps.observation.restarts import Restarts
from ikoma.apps.reconciliation.health_transitions import HealthTransitions
from ikoma.apps.reconciliation.reconciler import Reconciler
from ikoma.apps.recovery.nightly import NightlyBackups
from ikoma.apps.schedules.scheduler import Scheduler
from ikoma.capabilities.context import Platform
from ikoma.kernel.pipeline import Pipeline
from ikoma.kernel.supervisor import Supervisor
from ikoma.model import AppName
from ikoma.platform.background import (
    back_up,
    drop_former_databases,
    end_archive,
    end_holds,
    finish_restores,
    look_after_trash,
    perform_scheduled,
    prune_versions,
    remove_preview,
    roll_back,
    sweep_backups,
    sweep_databases,
    take_back_imports,
)
from ikoma.ports.progress import Progress
from ikoma.postgres.archive.archive import Archive
from ikoma.postgres.archive.point_in_time import sweep_recovered
from ikoma.postgres.databases import PostgresDatabases
from ikoma.postgres.server.embedded import EmbeddedPostgres
from ikoma.postgres.server.resource_guard import SessionLimits, guard
from ikoma.postgres.server.server import PostgresServer
from ikoma.postgres.server.unauthenticated_connections import turn_away
from ikoma.settings import Settings

_Alone = Callable[[AppName], AbstractAsyncContextManager[Progress]]


def start_apps_work(
    supervisor: Supervisor, platform: Platform, pipeline: Pipeline, *, restarts: Restarts, alone: _Alone
) -> None:
    """Let apps be kept as they are to be: reconciled, backed up by schedule, and swept of what was left.

    Args:
        alone: holds an app for an operation of IKOMA's own; raises AppBusy where another has it.
    """
    events = platform.events
    reconciler = Reconciler(
        platform.runtime,
        platform.apps,
        platform.recovery,
        platform.routes,
        platform.previews,
        restarts=restarts,
        alone=alone,
        go_back=partial(roll_back, pipeline),
        end_preview=partial(remove_preview, pipeline),
        transitions=HealthTransitions(platform.health, events.publish),
        publish=events.publish,
    )
    supervisor.start("reconciler", reconciler.run)
    scheduler = Scheduler(
        platform.apps,
        platform.databases,
        platform.backups,
        platform.schedule_runs,
        partial(perform_scheduled, pipeline),
        gives_nightly=platform.settings.nightly_backups,
    )
    supervisor.start("schedules", scheduler.run)
    if platform.settings.nightly_backups:
        nightly = NightlyBackups(
            platform.apps, platform.app_backups, platform.schedule_runs, partial(back_up, pipeline)
        )
        supervisor.start("nightly backups", nightly.run)
    supervisor.start("events of other processes", events.relay)
    supervisor.start("backup sweep", partial(sweep_backups, platform.backup_maker))
    supervisor.start("paused writers", partial(end_holds, platform.backup_maker, platform.apps, alone))
    supervisor.start(
        "restores of backups", partial(finish_restores, pipeline, platform.apps, platform.backup_restorer, alone)
    )
    supervisor.start("copies off this machine", platform.offsite_keeper.run)
    supervisor.start("trash", partial(look_after_trash, pipeline, platform.trash, platform.restorer))
    supervisor.start("imports", partial(take_back_imports, platform.importer, alone, events.publish))
    supervisor.start("former files and variables", partial(prune_versions, platform.apps))


def start_database_work(
    supervisor: Supervisor,
    settings: Settings,
    databases: PostgresDatabases,
    server: PostgresServer,
    archive: Archive | None,
) -> None:
    """Let PostgreSQL be archived where that is on, guarded, and swept of what was left."""
    supervisor.start("database sweep", partial(sweep_databases, databases))
    supervisor.start("former databases", partial(drop_former_databases, databases))
    if archive is None:
        supervisor.start("point in time", partial(end_archive, server))
    else:
        supervisor.start("archive", archive.receive)
        supervisor.start("base backups", archive.look_after)
    supervisor.start("recovered servers", partial(sweep_recovered, settings.postgres_folder))
    if isinstance(server, EmbeddedPostgres):  # another's server runs where its processes cannot be seen
        limits = SessionLimits(settings.db_session_memory, settings.db_statement_seconds)
        supervisor.start("database guard", partial(guard, server, limits))
        supervisor.start("database logins", partial(turn_away, server))
