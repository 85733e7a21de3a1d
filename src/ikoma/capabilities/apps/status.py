"""apps.status: how an app is, service by service."""

from __future__ import annotations

from ikoma.apps.health import HEALTHY, STOPPED
from ikoma.capabilities.context import Call
from ikoma.errors import Next
from ikoma.kernel.registry import AppRequest, Result, capability
from ikoma.model import Effect, Role


class Service(Result):
    name: str
    container: str
    state: str
    health: str | None
    exit_code: int | None
    image: str
    created_at: str


class Status(Result):
    name: str
    exists: bool
    docker_running: bool
    db_exists: bool | None
    health: str
    services: list[Service]
    release: str | None
    urls: list[str]
    maintenance: bool
    """Whether people get a page that says so instead of the app."""
    next: Next | None = None


def next_of(health: str, *, has_release: bool) -> Next | None:
    """Where to look when something is wrong."""
    if not has_release:
        return Next("apps.validate")
    return Next("apps.logs") if health not in (HEALTHY, STOPPED) else None


@capability("apps.status", role=Role.OBSERVER, effect=Effect.READS)
async def status(call: Call, request: AppRequest) -> Status:
    """Whether an app runs, with each of its services, its database, its release and its addresses.

    Use it to see what serves now. Next: apps.logs or apps.health where something is wrong.
    """
    seen = await call.platform.health.observe(call.platform.apps.at(request.app_name))
    if not seen.exists:
        await call.app_or_remains(request.app_name)  # where nothing of it remains, this says so
    return Status(
        name=request.app_name,
        exists=seen.exists,
        docker_running=seen.docker_running,
        db_exists=seen.database,
        health=seen.health,
        services=[
            Service(
                name=container.service,
                container=container.name,
                state=container.state,
                health=container.health,
                exit_code=container.exit_code,
                image=container.image,
                created_at=container.created_at,
            )
            for container in seen.containers
        ],
        release=seen.release.id if seen.release else None,
        urls=list(seen.urls),
        maintenance=seen.maintenance,
        next=next_of(seen.health, has_release=seen.release is not None),
    )
