"""The composition root: the only place where the parts are put together, started and stopped."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ikoma import __version__, capabilities
from ikoma.apps.adapting.adapter import Adapter
from ikoma.apps.app import Apps
from ikoma.apps.backups.downloads import BackupDownloads
from ikoma.apps.backups.folder import AppBackups
from ikoma.apps.backups.making import AppBackupMaker
from ikoma.apps.backups.restoring import AppBackupRestorer
from ikoma.apps.database.backups import Backups
from ikoma.apps.database.former_records import sign_former
from ikoma.apps.database.migrating import DatabaseMigrator
from ikoma.apps.database.point_in_time import PointInTimeRestorer
from ikoma.apps.database.restoring import DatabaseRestorer
from ikoma.apps.database.restoring_tables import TableRestorer
from ikoma.apps.deploying.deployer import Deployer
from ikoma.apps.deploying.plan import Planner
from ikoma.apps.deploying.recovery import Recovery
from ikoma.apps.deploying.release_history import ReleaseHistory, ReleaseRetention
from ikoma.apps.deploying.rollback import Rollbacks
from ikoma.apps.importing.cutting import Cutter
from ikoma.apps.importing.finding import ProjectFinder
from ikoma.apps.importing.importer import Importer
from ikoma.apps.importing.own_postgres import PostgresMover
from ikoma.apps.importing.planner import ImportPlanner
from ikoma.apps.observation.health import HEALTHY, UNHEALTHY, HealthObserver
from ikoma.apps.observation.logs import AppLogs
from ikoma.apps.observation.restarts import Restarts
from ikoma.apps.observation.verification import Verifier
from ikoma.apps.offsite.keeping import OffsiteKeeper
from ikoma.apps.offsite.offsite import Offsite
from ikoma.apps.offsite.returning import BackupReturn
from ikoma.apps.policy.enforcement import Policy
from ikoma.apps.policy.waivers import Waivers
from ikoma.apps.previews.previews import Previews
from ikoma.apps.recovery.state_backup import StateBackupMaker
from ikoma.apps.resolution.resolver import Resolutions
from ikoma.apps.resolution.routed_service import WebServices
from ikoma.apps.rollouts.rollouts import Rollouts
from ikoma.apps.routing.dns import DnsLookup
from ikoma.apps.routing.domains import read_others_domains
from ikoma.apps.routing.platform_domain import PlatformDomain
from ikoma.apps.routing.probe import Probe
from ikoma.apps.routing.routes import Routes
from ikoma.apps.schedules.runs import ScheduleRuns
from ikoma.apps.secrets.secret_index import SecretIndex
from ikoma.apps.signing import BackupKey
from ikoma.apps.source.checkout import Checkouts
from ikoma.apps.source.git import SourceReach
from ikoma.apps.source.webhook import Webhooks
from ikoma.apps.trash.entries import Trash
from ikoma.apps.trash.restoring import AppRestorer
from ikoma.apps.validation.validator import Validator
from ikoma.capabilities.context import Platform, make_call
from ikoma.engines.compose.engine import ComposeEngine
from ikoma.engines.compose.runtime import assemble
from ikoma.errors import EngineUnavailable
from ikoma.kernel.access.approvals import Approvals
from ikoma.kernel.access.callers import Callers
from ikoma.kernel.access.rate_limit import RateLimit
from ikoma.kernel.access.throttle import Throttle
from ikoma.kernel.answers.server_paths import ServerPaths
from ikoma.kernel.audit.anchors import Anchors, Place, append_to_file, post_to_webhook, send_to_syslog
from ikoma.kernel.audit.log import AuditLog
from ikoma.kernel.events import Event, EventKind, Events, Severity
from ikoma.kernel.locks import Locks
from ikoma.kernel.operations.journal import Journal, Record
from ikoma.kernel.operations.operations import Operations
from ikoma.kernel.pipeline import Pipeline
from ikoma.kernel.redaction.redaction import Scrubber, ScrubbingFormatter
from ikoma.kernel.state.store import Store
from ikoma.kernel.supervisor import Supervisor
from ikoma.model import Secret
from ikoma.platform.background import (
    follow_server_address,
    hold_alone,
    tell_server_address,
)
from ikoma.platform.background_work import start_apps_work, start_database_work
from ikoma.ports.proxy import Proxy
from ikoma.postgres.archive.archive import Archive
from ikoma.postgres.archive.point_in_time import PostgresPointInTime
from ikoma.postgres.databases import PostgresDatabases
from ikoma.postgres.server.embedded import EmbeddedPostgres
from ikoma.postgres.server.external import ExternalPostgres
from ikoma.postgres.server.server import PostgresServer
from ikoma.proxy.caddy import CaddyProxy
from ikoma.settings import Settings

if TYPE_CHECKING:
    from ikoma.kernel.access.tokens import Tokens

_GRACE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class RunningPlatform:
    """A started platform."""

    platform: Platform
    pipeline: Pipeline
    proxy: Proxy
    server: PostgresServer

    async def summarise(self) -> Mapping[str, Any]:
        """The facts that GET /health tells anyone."""
        apps = [self.platform.apps.locate(name) for name in self.platform.apps.list_names()]
        try:
            seen = [
                observation.health for observation in await asyncio.gather(*map(self.platform.health.observe, apps))
            ]
        except EngineUnavailable:
            return {"status": "degraded", "version": __version__, "apps": {"total": len(apps)}}
        counts = {"total": len(seen), "healthy": seen.count(HEALTHY), "unhealthy": seen.count(UNHEALTHY)}
        return {"status": "healthy", "version": __version__, "apps": counts}


@asynccontextmanager
async def run_platform(settings: Settings) -> AsyncIterator[RunningPlatform]:
    """Start everything, and stop it in the reverse order when the block ends. The folders are prepared before."""
    async with AsyncExitStack() as stack:
        engine = assemble(ComposeEngine(settings.docker_host))
        runtime = engine.runtime
        stack.push_async_callback(runtime.close)
        server = ExternalPostgres(settings) if settings.postgres_host else EmbeddedPostgres(settings)
        await tell_server_address(runtime, server)
        await server.start()
        stack.push_async_callback(server.stop)
        databases = PostgresDatabases(server)
        stack.push_async_callback(databases.close)
        apps = Apps(settings.apps_root)
        proxy = CaddyProxy(settings)
        stack.push_async_callback(proxy.close)
        routes = Routes(runtime, proxy, apps)
        restarts = Restarts()
        probe = Probe(runtime)
        health = HealthObserver(runtime, databases, routes, restarts, probe)
        stack.push_async_callback(probe.close)
        audit = AuditLog(
            settings.audit_log,
            settings.audit_head_file,
            max_bytes=settings.audit_max_mb << 20,
            keep=settings.audit_keep_files,
        )
        stack.callback(audit.close)
        anchors = Anchors(audit, _list_anchor_places(settings), settings.audit_anchor_seconds)
        stack.push_async_callback(anchors.anchor_last)
        store = await asyncio.to_thread(Store, settings.database_file)  # it waits where another process migrates it
        stack.callback(store.close)
        callers = Callers(store, settings.env_file, settings.api_key_hash)
        approvals = Approvals(store)
        journal = Journal(store)
        events = Events(store)
        for record in await journal.change(journal.recover):
            events.publish(_cut_off(record))
        operations = Operations(journal)
        stack.push_async_callback(operations.close, _GRACE_SECONDS)
        key = BackupKey(settings.backup_key_file)
        backups, app_backups = Backups(settings.backups_root, key), AppBackups(settings.backups_root, key)
        sign_former(backups, journal)
        offsite = Offsite(settings.offsite, settings.ikoma_state / "offsite", settings.backup_key_file)
        backup_maker = AppBackupMaker(engine, databases, app_backups, parallel_above=settings.parallel_backup_above)
        schedule_runs = ScheduleRuns(store, journal)
        keeper = OffsiteKeeper(offsite, apps, backups, app_backups, schedule_runs, events.publish)
        waivers = Waivers(store)
        hooks = Webhooks(store, apps)
        policy = Policy(
            apps,
            waivers,
            platform_ports=_map_platform_ports(settings, databases),
            registries=settings.image_registries,
            pinned=settings.image_pinned,
            folders=_list_folders(settings),
            hosts=(settings.postgres_host,) if settings.postgres_host else (),
        )
        web_services = WebServices(runtime, policy)
        resolutions = Resolutions(engine, policy.list_waived_rules)
        previews = Previews(apps, databases, backups, resolutions)
        validator = Validator(engine, databases, policy, routes, resolutions, web_services)
        restorations = DatabaseRestorer(databases, backups)
        archive = (
            Archive(server, settings.backups_root, settings.point_in_time_days) if settings.point_in_time else None
        )
        point_in_time = PostgresPointInTime(server, archive, settings.postgres_folder) if archive else None
        table_restorer = TableRestorer(databases, backups, restorations, lock_seconds=settings.db_lock_seconds)
        migrator = DatabaseMigrator(databases, backups, restorations, lock_seconds=settings.db_lock_seconds)
        rollbacks, memory = Rollbacks(migrator), settings.container_memory_mb << 20
        rollouts = Rollouts(runtime, routes, migrator)
        keep = ReleaseRetention(settings.releases_keep, settings.releases_max_days)
        history = ReleaseHistory(engine, migrator, rollouts, keep)
        recovery = Recovery(runtime, rollouts, history)
        deployer = Deployer(
            engine, databases, probe, policy, routes, rollouts, migrator, rollbacks, history, recovery, memory=memory
        )
        adapter = Adapter(validator)
        mover = PostgresMover(engine, databases)
        importer = Importer(engine, databases, apps, validator, deployer, mover)
        finder = ProjectFinder(engine, apps, _list_folders(settings))
        cutter = Cutter(engine, policy, resolutions)
        trash = Trash(apps, settings.trash_days)
        supervisor = Supervisor()
        secrets = SecretIndex(
            apps,
            [Secret(server.make_admin_login()["password"]), *_list_own_secrets(settings)],
            resolutions.list_secrets,
            lambda app: resolutions.find_names(app).union(read_others_domains(app)),
        )
        scrubber = Scrubber(secrets)
        _scrub_logs(scrubber)
        platform = Platform(
            settings=settings,
            runtime=runtime,
            volumes=engine.volumes,
            databases=databases,
            apps=apps,
            backups=backups,
            app_backups=app_backups,
            backup_maker=backup_maker,
            state_backups=StateBackupMaker(settings, apps, trash, app_backups),
            offsite=offsite,
            offsite_keeper=keeper,
            backup_return=BackupReturn(offsite, backups, app_backups),
            trash=trash,
            restorer=AppRestorer(engine, databases, trash),
            validator=validator,
            adapter=adapter,
            import_planner=ImportPlanner(engine, finder, resolutions, validator, adapter, cutter, mover),
            importer=importer,
            health=health,
            deployer=deployer,
            recovery=recovery,
            planner=Planner(engine, databases, policy, validator, migrator, rollbacks, memory=memory),
            migrator=migrator,
            restorations=restorations,
            downloads=BackupDownloads(),
            backup_restorer=AppBackupRestorer(
                engine.volumes, databases, app_backups, backup_maker, restorations, deployer
            ),
            table_restorer=table_restorer,
            point_in_time=PointInTimeRestorer(databases, restorations, table_restorer, point_in_time),
            routes=routes,
            platform_domain=PlatformDomain(settings, proxy, routes),
            resolutions=resolutions,
            verifier=Verifier(engine, resolutions, policy, databases, health, backups, web_services),
            waivers=waivers,
            approvals=approvals,
            callers=callers,
            audit=audit,
            operations=operations,
            logs=AppLogs(runtime),
            dns=DnsLookup(settings.public_addresses, settings.proxy_host),
            sources=Checkouts(_reach(settings)),
            hooks=hooks,
            previews=previews,
            schedule_runs=schedule_runs,
            events=events,
            supervisor=supervisor,
        )
        locks = Locks(settings.apps_root)
        pipeline = Pipeline(
            capabilities.load(),
            callers=callers,
            rate_limit=RateLimit(settings.rate_limit_window_ms, settings.rate_limit_max_requests),
            audit=audit,
            locks=locks,
            operations=operations,
            events=events,
            tokens=_tokens(settings, proxy),
            approvals=approvals,
            throttle=Throttle(settings.auth_max_failures),
            scrubber=scrubber,
            paths=ServerPaths(settings.folders),
            make_call=partial(make_call, platform),
        )
        stack.callback(pipeline.close)
        if settings.rehearsal:  # all that a start asks has answered; what would act on apps is not begun
            await runtime.read_version()
            await databases.read_version()
            yield RunningPlatform(platform, pipeline, proxy, server)
            return
        await routes.start()
        await stack.enter_async_context(supervisor)
        supervisor.start("proxy", proxy.watch)
        supervisor.start("audit anchors", anchors.run)
        start_apps_work(supervisor, platform, pipeline, restarts=restarts, alone=partial(hold_alone, locks, operations))
        start_database_work(supervisor, settings, databases, server, archive)
        supervisor.start("docker gateway", partial(follow_server_address, runtime, server))
        yield RunningPlatform(platform, pipeline, proxy, server)


def _cut_off(record: Record) -> Event:
    """The event of an operation whose server was stopped or killed in the middle."""
    message = "The server was stopped or killed before this was done."
    return Event(EventKind.FAILED, Severity.ERROR, record.app, record.id, record.capability, message)


def _scrub_logs(scrubber: Scrubber) -> None:
    """From now on no line of the server's log holds a secret, tracebacks included."""
    for handler in logging.getLogger().handlers:
        if not isinstance(handler.formatter, ScrubbingFormatter):
            handler.setFormatter(ScrubbingFormatter(handler.formatter or logging.Formatter(), scrubber))


def _list_own_secrets(settings: Settings) -> list[Secret]:
    """The secrets of settings that no line of a log and no answer may hold."""
    return [settings.offsite.secret] if settings.offsite and settings.offsite.secret else []


def _list_anchor_places(settings: Settings) -> list[Place]:
    if settings.rehearsal:
        return []
    places = [append_to_file(path) for path in settings.audit_anchor_files]
    if settings.audit_anchor_url:
        places.append(post_to_webhook(settings.audit_anchor_url))
    if settings.audit_anchor_syslog:
        places.append(send_to_syslog(settings.audit_anchor_syslog))
    return places


def _tokens(settings: Settings, proxy: Proxy) -> Tokens | None:
    if settings.jwt_issuer is None:
        return None
    from ikoma.kernel.access.tokens import Tokens  # with a library that nothing else needs

    def list_audiences() -> Sequence[str]:
        if settings.jwt_audience:
            return [settings.jwt_audience]
        own = f"http://{settings.http_host}:{settings.http_port}/mcp"
        return [own, f"https://{proxy.platform_domain}/mcp"] if proxy.platform_domain else [own]

    return Tokens(settings.jwt_issuer, list_audiences, settings.jwt_jwks_url)


def _reach(settings: Settings) -> SourceReach:
    return SourceReach(
        hosts=settings.source_hosts,
        known_hosts=settings.ikoma_home / "known_hosts",
        helpers=settings.ikoma_state,
        ssh_key=settings.source_ssh_key,
        ca_file=settings.source_ca_file,
    )


def _list_folders(settings: Settings) -> Sequence[Path]:
    """Folders that are the platform's own on this machine, and no app's to mount."""
    kind, _, socket = settings.docker_host.partition("://")
    return (
        settings.ikoma_home,
        settings.ikoma_state,
        settings.backups_root,
        settings.audit_log,
        *settings.audit_anchor_files,
        *([Path(socket)] if kind == "unix" else []),
    )


def _map_platform_ports(settings: Settings, databases: PostgresDatabases) -> Mapping[int, str]:
    ports = {settings.http_port: "IKOMA itself"}
    if settings.postgres_host is None:
        ports[databases.find_endpoint().port] = "IKOMA's PostgreSQL"
    return ports
