"""platform.info: what this server is."""

from __future__ import annotations

import time

from ikoma import __version__
from ikoma.capabilities.context import Call
from ikoma.kernel.answers.leading import list_callable
from ikoma.kernel.registry import BODY_LIMIT, SQL_BODY_LIMIT, Request, Result, capability, listed, registry
from ikoma.model import Effect, Role


class PlatformInfoResult(Result):
    version: str
    uptime: float
    """Seconds since the server started."""
    capabilities: list[str]
    """Capabilities for this key."""
    limits: dict[str, int]


@capability("platform.info", role=Role.OBSERVER, effect=Effect.READS)
@listed("server", "info", "Show version, uptime and limits.")
async def info(call: Call, request: Request) -> PlatformInfoResult:
    """Version, uptime, what this key can call, and the limits of this server.

    Use it to learn what this server can do.
    """
    return call.platform.turn.share("info", call.platform, (call.caller, call.role), lambda: _describe(call))


def _describe(call: Call) -> PlatformInfoResult:
    settings = call.platform.settings
    return PlatformInfoResult(
        version=__version__,
        uptime=round(time.monotonic() - call.platform.started, 3),
        capabilities=list(list_callable(registry, call.caller, call.role)),
        limits={
            "bodyBytes": BODY_LIMIT,
            "sqlBodyBytes": SQL_BODY_LIMIT,
            "requestsPerWindow": settings.rate_limit_max_requests,
            "windowMs": settings.rate_limit_window_ms,
        },
    )
