"""The call that a capability works with, and through it the parts of the platform."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from ikoma.app_folder import App
from ikoma.apps.adapting.adapter import Adapter
from ikoma.apps.app import Apps
from ikoma.apps.backups.downloads import BackupDownloads
from ikoma.apps.backups.folder import AppBackups
from ikoma.apps.backups.making import AppBackupMaker
from ikoma.apps.backups.restoring import AppBackupRestorer
from ikoma.apps.database.backups import Backups
from ikoma.apps.database.migrating import DatabaseMigrator
from ikoma.apps.database.point_in_time import PointInTimeRestorer
from ikoma.apps.database.restoring import DatabaseRestorer
from ikoma.apps.database.restoring_tables import TableRestorer
from ikoma.apps.deploying.deployer import Deployer
from ikoma.apps.deploying.plan import Planner
from ikoma.apps.deploying.recovery import Recovery
from ikoma.apps.environment.editor import EnvFile
from ikoma.apps.importing.importer import Importer
from ikoma.apps.importing.planner import ImportPlanner
from ikoma.apps.observation.health import HealthObserver
from ikoma.apps.observation.logs import AppLogs
from ikoma.apps.observation.verification import Verifier
from ikoma.apps.offsite.keeping import OffsiteKeeper
from ikoma.apps.offsite.offsite import Offsite
from ikoma.apps.offsite.returning import BackupReturn
from ikoma.apps.policy.waivers import Waivers
from ikoma.apps.previews.previews import Previews
from ikoma.apps.recovery.state_backup import StateBackupMaker
from ikoma.apps.resolution.resolver import Resolutions
from ikoma.apps.routing.dns import DnsLookup
from ikoma.apps.routing.platform_domain import PlatformDomain
from ikoma.apps.routing.routes import Routes
from ikoma.apps.schedules.runs import ScheduleRuns
from ikoma.apps.source.checkout import Checkouts
from ikoma.apps.source.webhook import Webhooks
from ikoma.apps.trash.entries import Trash
from ikoma.apps.trash.restoring import AppRestorer
from ikoma.apps.validation.validator import Validator
from ikoma.errors import AppNotFound
from ikoma.kernel.access.approvals import Approvals
from ikoma.kernel.access.caller import SCHEDULE, Caller
from ikoma.kernel.access.callers import Callers
from ikoma.kernel.answers.leading import Lists, list_all
from ikoma.kernel.audit.log import AuditLog
from ikoma.kernel.call import CallContext, Emit
from ikoma.kernel.coalesce import Turn
from ikoma.kernel.events import Events
from ikoma.kernel.operations.operations import Operations
from ikoma.kernel.supervisor import Supervisor
from ikoma.model import AppName, Role
from ikoma.ports.databases import Databases
from ikoma.ports.progress import Progress
from ikoma.ports.runtime import Runtime
from ikoma.ports.volumes import Volumes
from ikoma.settings import Settings


@dataclass(frozen=True, slots=True)
class Platform:
    """The parts, put together in platform/composition.py."""

    settings: Settings
    runtime: Runtime
    volumes: Volumes
    databases: Databases
    apps: Apps
    backups: Backups
    app_backups: AppBackups
    backup_maker: AppBackupMaker
    state_backups: StateBackupMaker
    downloads: BackupDownloads
    backup_restorer: AppBackupRestorer
    offsite: Offsite
    offsite_keeper: OffsiteKeeper
    backup_return: BackupReturn
    trash: Trash
    restorer: AppRestorer
    resolutions: Resolutions
    validator: Validator
    adapter: Adapter
    import_planner: ImportPlanner
    importer: Importer
    health: HealthObserver
    verifier: Verifier
    deployer: Deployer
    recovery: Recovery
    planner: Planner
    migrator: DatabaseMigrator
    restorations: DatabaseRestorer
    table_restorer: TableRestorer
    point_in_time: PointInTimeRestorer
    routes: Routes
    platform_domain: PlatformDomain
    waivers: Waivers
    approvals: Approvals
    callers: Callers
    audit: AuditLog
    operations: Operations
    logs: AppLogs
    dns: DnsLookup
    sources: Checkouts
    hooks: Webhooks
    previews: Previews
    schedule_runs: ScheduleRuns
    events: Events
    supervisor: Supervisor
    started: float = field(default_factory=time.monotonic)
    turn: Turn = field(default_factory=Turn)
    """Shares between those who share a look what each makes of it."""


@dataclass(slots=True)
class Call:
    """One call to a capability, already allowed and validated."""

    platform: Platform
    caller: Caller
    role: Role
    request_id: str
    progress: Progress
    emit: Emit | None
    sees_paths: bool = True
    """Whether its caller is told paths on the server."""
    lists: Lists = list_all
    """To which capabilities its caller may be led."""
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the server stops."""

    @property
    def is_scheduled(self) -> bool:
        """Whether its caller is no person and no program of theirs, but a schedule."""
        return self.caller.id.startswith(SCHEDULE)

    def find_app(self, name: AppName) -> App:
        """The app of that name; AppNotFound, with the nearest name this caller may know of."""
        return self.platform.apps.find(name, visible=self.caller.reaches)

    def open_env_file(self, name: AppName) -> EnvFile:
        """The `.env` of the app of that name."""
        return EnvFile(self.find_app(name), self.platform.resolutions.reader)

    async def find_app_or_remains(self, name: AppName) -> App:
        """The app, even when its folder is gone, as long as containers or a database of it remain."""
        try:
            return self.find_app(name)
        except AppNotFound:
            app = self.platform.apps.locate(name)
            replicas = (await self.platform.runtime.observe(app)).replicas
            ours = [item for item in replicas if item.folder == str(app.path)]
            if ours or await self.platform.databases.owns(name):
                return app
            raise

    def list_kept_of_database(self, app: App) -> tuple[str]:
        """The parts of an app's database that remain whatever becomes of it, for a person who is asked."""
        latest = self.platform.backups.find_latest(app.name)
        return (
            f"the last backup, {latest.name} of {latest.created_at}" if latest else "no backup: none was ever made",
        )

    async def forget(self, app: App, *, releases: bool = True) -> None:
        """An app's folder is gone: so is all that is kept of it elsewhere.

        Args:
            releases: whether the images of its releases go too.
        """
        await self.platform.deployer.forget(app, images_too=releases)
        self.platform.health.forget(app)
        await self.platform.waivers.change(partial(self.platform.waivers.forget, app.name))

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Names a part of the work for whoever follows the progress."""
        self.progress(name)
        yield


def make_call(platform: Platform, identified: CallContext) -> Call:
    return Call(
        platform,
        identified.caller,
        identified.role,
        identified.request_id,
        identified.progress,
        identified.emit,
        identified.sees_paths,
        identified.lists,
        identified.stopping,
    )
