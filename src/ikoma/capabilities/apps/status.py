"""apps.status: how an app is, service by service."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from ikoma.apps.observation.health import HEALTHY, STOPPED, Observation
from ikoma.capabilities.context import Call
from ikoma.capabilities.sentences import say_health
from ikoma.errors import Next
from ikoma.kernel.registry import AppRequest, Result, Untrusted, capability, listed, make_optional
from ikoma.model import AppName, Effect, Role
from ikoma.moments import format_moment


class AppsStatusService(Result):
    name: str
    container: str
    state: str
    health: str | None
    exit_code: int | None
    image: str
    created_at: str


class AppsStatusStarting(Result):
    """A container of a release that does not serve yet."""

    release: str
    service: str
    container: str
    state: str
    health: str | None


class AppsStatusUnderWay(Result):
    id: str
    capability: str
    since: str
    step: Annotated[str | None, Untrusted("progress", ours=True)]


class AppsStatusWatch(Result):
    release: str
    until: str
    back_to: str
    """The release that serves again where this one turns unhealthy before."""


class AppsStatusResult(Result):
    name: str
    exists: bool
    docker_running: bool
    db_exists: bool | None
    health: str
    services: list[AppsStatusService]
    release: str | None
    urls: list[str]
    maintenance: bool
    """Whether people get a page that says so instead of the app."""
    operation: AppsStatusUnderWay | None = make_optional()
    """Operation that works on it."""
    starting: list[AppsStatusStarting] = make_optional([])
    watch: AppsStatusWatch | None = make_optional()
    next: Next | None = None


def find_next(health: str, *, has_release: bool) -> Next | None:
    """The call that shows what is wrong; what was stopped is started."""
    if not has_release:
        return Next("apps.validate")
    if health == STOPPED:
        return Next("deploy.restart")
    return Next("apps.logs") if health != HEALTHY else None


@capability("apps.status", role=Role.OBSERVER, effect=Effect.READS)
@listed(
    "look",
    "status",
    "Show an app, service by service.",
    not_in_text=("name", "health", "release", "urls"),
    says=say_health,
)
async def status(call: Call, request: AppRequest) -> AppsStatusResult:
    """Whether an app runs, with each of its services, its database, its release and its addresses.

    Use it to see what serves now. Next: apps.logs or apps.health where something is wrong.
    """
    seen = await call.platform.health.observe(call.platform.apps.locate(request.app_name))
    if not seen.exists:
        await call.find_app_or_remains(request.app_name)  # where nothing of it remains, this says so
    # All who share the look share what is made of it.
    return call.platform.turn.share("status", seen, (call.caller, call.role), lambda: _describe(call, request, seen))


def _describe(call: Call, request: AppRequest, seen: Observation) -> AppsStatusResult:
    return AppsStatusResult(
        name=request.app_name,
        exists=seen.exists,
        docker_running=seen.docker_running,
        db_exists=seen.database,
        health=seen.health,
        services=[
            AppsStatusService(
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
        operation=_find_under_way(call, request.app_name),
        starting=[
            AppsStatusStarting(
                release=release, service=item.service, container=item.name, state=item.state, health=item.health
            )
            for release, item in seen.starting
        ],
        watch=_watch(seen),
        next=find_next(seen.health, has_release=seen.release is not None),
    )


def _find_under_way(call: Call, app: AppName) -> AppsStatusUnderWay | None:
    record = call.platform.operations.find_under_way(app, call.caller, call.role)
    if record is None:
        return None
    step = record.steps[-1].name if record.steps else None
    return AppsStatusUnderWay(id=record.id, capability=record.capability, since=record.started_at, step=step)


def _watch(seen: Observation) -> AppsStatusWatch | None:
    if seen.standby is None or seen.release is None:
        return None
    until = format_moment(datetime.fromtimestamp(seen.standby.until, UTC))
    return AppsStatusWatch(release=seen.release.id, until=until, back_to=seen.standby.release)
