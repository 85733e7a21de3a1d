"""apps.top: what apps take of the machine."""

from __future__ import annotations

from pydantic import Field

from ikoma.capabilities.context import Call
from ikoma.kernel.registry import Request, Result, capability, listed
from ikoma.model import AppName, Effect, Role
from ikoma.ports.runtime import ReplicaUsage


class AppsTopRequest(Request):
    app_name: AppName | None = None
    """Default: all."""
    limit: int = Field(default=100, ge=1, le=1000)


class AppsTopService(Result):
    app: str
    service: str
    containers: int
    cpu_percent: float
    """Percent of one core."""
    memory_bytes: int
    memory_limit_bytes: int
    """Limit of all containers together."""


class AppsTopResult(Result):
    services: list[AppsTopService]
    truncated: bool
    """Whether there are more: a larger limit shows them."""


@capability("apps.top", role=Role.OBSERVER, effect=Effect.READS, rare=True)
@listed("look", "top", "Show what apps take of CPU and memory.", by_hand=True)
async def top(call: Call, request: AppsTopRequest) -> AppsTopResult:
    """CPU and memory of each running service now, the busiest first.

    Use it when the machine is slow.
    """
    if request.app_name is not None:
        call.caller.check_app(request.app_name)
    names = [call.find_app(request.app_name).name] if request.app_name else call.platform.apps.list_names()
    running = [
        (name, replica)
        for name in names
        if call.caller.reaches(name)
        for replica in (await call.platform.runtime.observe(call.platform.apps.locate(name))).replicas
        if replica.state == "running"
    ]
    usage = await call.platform.runtime.measure_usage([replica.id for _, replica in running])
    grouped: dict[tuple[str, str], list[ReplicaUsage]] = {}
    for name, replica in running:
        if replica.id in usage:
            grouped.setdefault((name, replica.service), []).append(usage[replica.id])
    services = [_make_service(app, service, found) for (app, service), found in grouped.items()]
    busiest = sorted(services, key=lambda item: (-item.cpu_percent, -item.memory_bytes, item.app, item.service))
    return AppsTopResult(services=busiest[: request.limit], truncated=len(busiest) > request.limit)


def _make_service(app: str, service: str, found: list[ReplicaUsage]) -> AppsTopService:
    return AppsTopService(
        app=app,
        service=service,
        containers=len(found),
        cpu_percent=round(sum(item.cpu_percent for item in found), 1),
        memory_bytes=sum(item.memory_bytes for item in found),
        memory_limit_bytes=sum(item.memory_limit_bytes for item in found),
    )
