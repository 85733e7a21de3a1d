"""Starts the parts that all others stand on: the engine, PostgreSQL and the proxy, and the folder of all apps."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass

from ikoma.apps.app import Apps
from ikoma.apps.secrets.secret_files import SecretFiles
from ikoma.engines.compose.engine import ComposeEngine
from ikoma.engines.compose.runtime import assemble
from ikoma.platform.background import tell_server_address
from ikoma.ports.runtime import Engine
from ikoma.postgres.archive.archive import Archive
from ikoma.postgres.databases import PostgresDatabases
from ikoma.postgres.server.embedded import EmbeddedPostgres
from ikoma.postgres.server.external import ExternalPostgres
from ikoma.postgres.server.server import PostgresServer
from ikoma.proxy.caddy import CaddyProxy
from ikoma.settings import Settings


@dataclass(frozen=True, slots=True)
class Foundation:
    """The parts that other programs do their work for."""

    engine: Engine
    server: PostgresServer
    databases: PostgresDatabases
    apps: Apps
    secrets: SecretFiles
    proxy: CaddyProxy
    archive: Archive | None
    """The server's log and base backups; None where there is no way back to a point in time."""


async def start_foundation(stack: AsyncExitStack, settings: Settings) -> Foundation:
    """Start PostgreSQL, and make ready what asks the engine and the proxy; all of it ends with the stack."""
    apps = Apps(settings.apps_root)
    secrets = SecretFiles(apps)
    engine = assemble(ComposeEngine(settings.docker_host, secrets))
    stack.push_async_callback(engine.runtime.close)
    server = ExternalPostgres(settings) if settings.postgres_host else EmbeddedPostgres(settings)
    await tell_server_address(engine.runtime, server)
    await server.start()
    stack.push_async_callback(server.stop)
    databases = PostgresDatabases(server)
    stack.push_async_callback(databases.close)
    proxy = CaddyProxy(settings)
    stack.push_async_callback(proxy.close)
    archive = Archive(server, settings.backups_root, settings.point_in_time_days) if settings.point_in_time else None
    return Foundation(engine, server, databases, apps, secrets, proxy, archive)
