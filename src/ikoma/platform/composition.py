"""The composition root: the only place where the parts are put together, started and stopped.

What they stand on is in foundation.py, the server's records in records.py, the parts of capabilities in parts.py.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ikoma import __version__, capabilities
from ikoma.apps.database.former_records import sign_former
from ikoma.apps.observation.health import HEALTHY, UNHEALTHY
from ikoma.apps.observation.restarts import Restarts
from ikoma.apps.routing.domains import read_others_domains
from ikoma.apps.routing.probe import Probe
from ikoma.apps.secrets.secret_index import SecretIndex
from ikoma.capabilities.context import Platform, make_call
from ikoma.errors import EngineUnavailable
from ikoma.kernel.access.rate_limit import RateLimit
from ikoma.kernel.access.throttle import Throttle
from ikoma.kernel.answers.server_paths import ServerPaths
from ikoma.kernel.locks import Locks
from ikoma.kernel.pipeline import Pipeline
from ikoma.kernel.redaction.redaction import Scrubber, ScrubbingFormatter
from ikoma.kernel.supervisor import Supervisor
from ikoma.model import Secret
from ikoma.platform.background import follow_server_address, hold_alone
from ikoma.platform.background_work import start_apps_work, start_database_work
from ikoma.platform.foundation import Foundation, start_foundation
from ikoma.platform.parts import make_platform
from ikoma.platform.records import Records, open_records
from ikoma.ports.proxy import Proxy
from ikoma.postgres.server.server import PostgresServer
from ikoma.settings import Settings

if TYPE_CHECKING:
    from ikoma.kernel.access.tokens import Tokens


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
        base = await start_foundation(stack, settings)
        probe, restarts, supervisor = Probe(base.engine.runtime, base.secrets), Restarts(), Supervisor()
        stack.push_async_callback(probe.close)
        records = await open_records(stack, settings)
        platform = make_platform(settings, base, records, probe, restarts=restarts, supervisor=supervisor)
        sign_former(platform.backups, records.journal)
        locks = Locks(settings.apps_root)
        pipeline = _make_pipeline(settings, base, records, platform, locks)
        stack.callback(pipeline.close)
        running = RunningPlatform(platform, pipeline, base.proxy, base.server)
        if settings.rehearsal:  # all that a start asks has answered; what would act on apps is not begun
            await base.engine.runtime.read_version()
            await base.databases.read_version()
            yield running
            return
        await platform.routes.start()
        await stack.enter_async_context(supervisor)
        alone = partial(hold_alone, locks, records.operations)
        supervisor.start("proxy", base.proxy.watch)
        supervisor.start("audit anchors", records.anchors.run)
        start_apps_work(supervisor, platform, pipeline, restarts=restarts, alone=alone)
        start_database_work(supervisor, settings, base.databases, base.server, base.archive)
        supervisor.start("docker gateway", partial(follow_server_address, base.engine.runtime, base.server))
        yield running


def _make_pipeline(
    settings: Settings, base: Foundation, records: Records, platform: Platform, locks: Locks
) -> Pipeline:
    scrubber = _make_scrubber(settings, base, platform)
    _scrub_logs(scrubber)
    return Pipeline(
        capabilities.load(),
        callers=records.callers,
        rate_limit=RateLimit(settings.rate_limit_window_ms, settings.rate_limit_max_requests),
        audit=records.audit,
        locks=locks,
        operations=records.operations,
        events=records.events,
        tokens=_make_tokens(settings, base.proxy),
        approvals=records.approvals,
        throttle=Throttle(settings.auth_max_failures),
        scrubber=scrubber,
        paths=ServerPaths(settings.folders),
        make_call=partial(make_call, platform),
    )


def _make_scrubber(settings: Settings, base: Foundation, platform: Platform) -> Scrubber:
    """Make what takes secrets out of texts: the server's own, and those of all apps."""
    resolutions = platform.resolutions
    own = [Secret(base.server.make_admin_login()["password"]), *_list_own_secrets(settings)]
    return Scrubber(
        SecretIndex(
            base.secrets,
            own,
            resolutions.list_secrets,
            lambda app: resolutions.find_names(app).union(read_others_domains(app)),
        )
    )


def _scrub_logs(scrubber: Scrubber) -> None:
    """From now on no line of the server's log holds a secret, tracebacks included."""
    for handler in logging.getLogger().handlers:
        if not isinstance(handler.formatter, ScrubbingFormatter):
            handler.setFormatter(ScrubbingFormatter(handler.formatter or logging.Formatter(), scrubber))


def _list_own_secrets(settings: Settings) -> list[Secret]:
    """The secrets of settings that no line of a log and no answer may hold."""
    return [settings.offsite.secret] if settings.offsite and settings.offsite.secret else []


def _make_tokens(settings: Settings, proxy: Proxy) -> Tokens | None:
    if settings.jwt_issuer is None:
        return None
    from ikoma.kernel.access.tokens import Tokens  # with a library that nothing else needs

    def list_audiences() -> Sequence[str]:
        if settings.jwt_audience:
            return [settings.jwt_audience]
        own = f"http://{settings.http_host}:{settings.http_port}/mcp"
        return [own, f"https://{proxy.platform_domain}/mcp"] if proxy.platform_domain else [own]

    return Tokens(settings.jwt_issuer, list_audiences, settings.jwt_jwks_url)
