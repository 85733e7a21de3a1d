"""Puts the parts together that capabilities are carried out by: what judges, what backs up, what deploys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ikoma.apps.adapting.adapter import Adapter
from ikoma.apps.backups.downloads import BackupDownloads
from ikoma.apps.backups.folder import AppBackups
from ikoma.apps.backups.making import AppBackupMaker
from ikoma.apps.backups.newest import find_newest_proven
from ikoma.apps.backups.restoring import AppBackupRestorer
from ikoma.apps.database.backups import Backups
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
from ikoma.apps.observation.health import HealthObserver
from ikoma.apps.observation.logs import AppLogs
from ikoma.apps.observation.restarts import Restarts
from ikoma.apps.observation.verification import Verifier
from ikoma.apps.offsite.keeping import OffsiteKeeper
from ikoma.apps.offsite.offsite import Offsite
from ikoma.apps.offsite.returning import BackupReturn
from ikoma.apps.policy.enforcement import Policy
from ikoma.apps.previews.previews import Previews
from ikoma.apps.recovery.state_backup import StateBackupMaker
from ikoma.apps.resolution.resolver import Resolutions
from ikoma.apps.resolution.routed_service import WebServices
from ikoma.apps.rollouts.rollouts import Rollouts
from ikoma.apps.routing.dns import DnsLookup
from ikoma.apps.routing.platform_domain import PlatformDomain
from ikoma.apps.routing.probe import Probe
from ikoma.apps.routing.routes import Routes
from ikoma.apps.signing import BackupKey
from ikoma.apps.source.checkout import Checkouts
from ikoma.apps.source.git import SourceReach
from ikoma.apps.source.webhook import Webhooks
from ikoma.apps.trash.entries import Trash
from ikoma.apps.trash.restoring import AppRestorer
from ikoma.apps.validation.validator import Validator
from ikoma.capabilities.context import Platform
from ikoma.kernel.supervisor import Supervisor
from ikoma.platform.foundation import Foundation
from ikoma.platform.records import Records
from ikoma.postgres.archive.point_in_time import PostgresPointInTime
from ikoma.postgres.databases import PostgresDatabases
from ikoma.settings import Settings


@dataclass(frozen=True, slots=True)
class _Judges:
    """The parts that say what an app's files mean, and whether they are allowed."""

    policy: Policy
    web_services: WebServices
    resolutions: Resolutions
    validator: Validator
    adapter: Adapter


@dataclass(frozen=True, slots=True)
class _BackupParts:
    """The parts that make backups and bring them back."""

    backups: Backups
    app_backups: AppBackups
    maker: AppBackupMaker
    offsite: Offsite
    keeper: OffsiteKeeper
    restorations: DatabaseRestorer


@dataclass(frozen=True, slots=True)
class _DeployParts:
    """The parts that deploy, and roll back."""

    migrator: DatabaseMigrator
    recovery: Recovery
    deployer: Deployer
    planner: Planner


def make_platform(
    settings: Settings, base: Foundation, records: Records, probe: Probe, *, restarts: Restarts, supervisor: Supervisor
) -> Platform:
    """Put the parts together; nothing is started."""
    engine, databases, apps = base.engine, base.databases, base.apps
    routes = Routes(engine.runtime, base.proxy, apps)
    health = HealthObserver(engine.runtime, databases, routes, restarts, probe)
    kept = _make_backup_parts(settings, base, records)
    judges = _make_judges(settings, base, records, routes)
    deploying = _make_deploy_parts(settings, base, judges, kept, routes, probe)
    trash = Trash(apps, settings.trash_days)
    mover = PostgresMover(engine, databases)
    tables = TableRestorer(databases, kept.backups, kept.restorations, lock_seconds=settings.db_lock_seconds)
    return Platform(
        settings=settings,
        runtime=engine.runtime,
        volumes=engine.volumes,
        databases=databases,
        apps=apps,
        backups=kept.backups,
        app_backups=kept.app_backups,
        backup_maker=kept.maker,
        state_backups=StateBackupMaker(settings, apps, trash, kept.app_backups),
        offsite=kept.offsite,
        offsite_keeper=kept.keeper,
        backup_return=BackupReturn(kept.offsite, kept.backups, kept.app_backups),
        trash=trash,
        restorer=AppRestorer(engine, databases, trash),
        validator=judges.validator,
        adapter=judges.adapter,
        import_planner=_make_import_planner(settings, base, judges, mover),
        importer=Importer(engine, databases, apps, judges.validator, deploying.deployer, mover),
        health=health,
        deployer=deploying.deployer,
        recovery=deploying.recovery,
        planner=deploying.planner,
        migrator=deploying.migrator,
        restorations=kept.restorations,
        downloads=BackupDownloads(),
        backup_restorer=AppBackupRestorer(
            engine.volumes, databases, kept.app_backups, kept.maker, kept.restorations, deploying.deployer
        ),
        table_restorer=tables,
        point_in_time=_make_point_in_time(settings, base, kept, tables),
        routes=routes,
        platform_domain=PlatformDomain(settings, base.proxy, routes),
        resolutions=judges.resolutions,
        verifier=Verifier(
            engine,
            judges.resolutions,
            judges.policy,
            databases,
            health,
            partial(find_newest_proven, kept.backups, kept.app_backups),
            judges.web_services,
        ),
        waivers=records.waivers,
        approvals=records.approvals,
        callers=records.callers,
        audit=records.audit,
        operations=records.operations,
        logs=AppLogs(engine.runtime),
        dns=DnsLookup(settings.public_addresses, settings.proxy_host),
        sources=Checkouts(_reach(settings)),
        hooks=Webhooks(records.store, apps),
        previews=Previews(apps, databases, kept.backups, judges.resolutions),
        schedule_runs=records.schedule_runs,
        events=records.events,
        supervisor=supervisor,
    )


def _make_backup_parts(settings: Settings, base: Foundation, records: Records) -> _BackupParts:
    key = BackupKey(settings.backup_key_file)
    backups, app_backups = Backups(settings.backups_root, key), AppBackups(settings.backups_root, key)
    offsite = Offsite(settings.offsite, settings.ikoma_state / "offsite", settings.backup_key_file)
    publish = records.events.publish
    keeper = OffsiteKeeper(offsite, base.apps, backups, app_backups, records.schedule_runs, publish)
    maker = AppBackupMaker(base.engine, base.databases, app_backups, parallel_above=settings.parallel_backup_above)
    return _BackupParts(backups, app_backups, maker, offsite, keeper, DatabaseRestorer(base.databases, backups))


def _make_judges(settings: Settings, base: Foundation, records: Records, routes: Routes) -> _Judges:
    engine = base.engine
    policy = Policy(
        base.apps,
        records.waivers,
        platform_ports=_map_platform_ports(settings, base.databases),
        registries=settings.image_registries,
        pinned=settings.image_pinned,
        folders=_list_folders(settings),
        hosts=(settings.postgres_host,) if settings.postgres_host else (),
    )
    web_services = WebServices(engine.runtime, policy)
    resolutions = Resolutions(engine, policy.list_waived_rules)
    validator = Validator(engine, base.databases, policy, routes, resolutions, web_services)
    return _Judges(policy, web_services, resolutions, validator, Adapter(validator))


def _make_deploy_parts(
    settings: Settings, base: Foundation, judges: _Judges, kept: _BackupParts, routes: Routes, probe: Probe
) -> _DeployParts:
    engine, databases, memory = base.engine, base.databases, settings.container_memory_mb << 20
    migrator = DatabaseMigrator(databases, kept.backups, kept.restorations, lock_seconds=settings.db_lock_seconds)
    rollbacks = Rollbacks(migrator)
    rollouts = Rollouts(engine.runtime, routes, migrator)
    keep = ReleaseRetention(settings.releases_keep, settings.releases_max_days)
    history = ReleaseHistory(engine, migrator, rollouts, keep, base.secrets)
    recovery = Recovery(engine.runtime, rollouts, history)
    deployer = Deployer(
        engine,
        databases,
        probe,
        judges.policy,
        routes,
        rollouts,
        migrator,
        rollbacks,
        history,
        recovery,
        memory=memory,
    )
    planner = Planner(engine, databases, judges.policy, judges.validator, migrator, rollbacks, memory=memory)
    return _DeployParts(migrator, recovery, deployer, planner)


def _make_import_planner(settings: Settings, base: Foundation, judges: _Judges, mover: PostgresMover) -> ImportPlanner:
    finder = ProjectFinder(base.engine, base.apps, _list_folders(settings))
    cutter = Cutter(base.engine, judges.policy, judges.resolutions)
    return ImportPlanner(base.engine, finder, judges.resolutions, judges.validator, judges.adapter, cutter, mover)


def _make_point_in_time(
    settings: Settings, base: Foundation, kept: _BackupParts, tables: TableRestorer
) -> PointInTimeRestorer:
    past = PostgresPointInTime(base.server, base.archive, settings.postgres_folder) if base.archive else None
    return PointInTimeRestorer(base.databases, kept.restorations, tables, past)


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
