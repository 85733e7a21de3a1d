"""Health is observed, not guessed.

An app is healthy when the containers of its current release run, their healthchecks pass, its HTTP health path
answers, and its database accepts the app's own role. Each answer is newer than its question; many who ask at once
share one look (see kernel/coalesce.py).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from ikoma.app_folder import App
from ikoma.apps.database import credentials
from ikoma.apps.observation.restarts import Restarts
from ikoma.apps.releases.release import Release, Releases
from ikoma.apps.releases.scale import read_scale
from ikoma.apps.routing.probe import Probe, ProbeResult
from ikoma.apps.routing.routes import Routes
from ikoma.compose.compose_file import Web
from ikoma.errors import IkomaError, StateUnreadable
from ikoma.kernel.coalesce import Coalesced
from ikoma.ports.databases import Databases
from ikoma.ports.replicas import AppState, Replica, ReplicaPart
from ikoma.ports.runtime import Runtime
from ikoma.rollout_state import Standby

HEALTHY, UNHEALTHY, STARTING, STOPPED, UNKNOWN = "healthy", "unhealthy", "starting", "stopped", "unknown"

_GATHER_SECONDS = 0.004
_LOOKS = 3
_STOPPED_BY_REQUEST = (0, 137, 143)


@dataclass(frozen=True, slots=True)
class Observation:
    """The state of an app a moment ago."""

    health: str
    exists: bool
    """Whether the app's folder is there."""
    containers: Sequence[Replica]
    release: Release | None
    urls: tuple[str, ...]
    database: bool | None
    """Whether the app has a database; None where PostgreSQL could not be asked."""
    maintenance: bool
    """Whether people get a page that says so instead of the app."""
    checks: Mapping[str, ProbeResult] = field(default_factory=dict)
    starting: Sequence[tuple[str, Replica]] = ()
    """Containers that a rollout under way has made, each with its release."""
    standby: Standby | None = None
    """The release to go back to while the one that serves is watched."""

    @property
    def docker_running(self) -> bool:
        return any(container.state == "running" for container in self.containers)


class HealthObserver:
    """Looks at apps.

    Args:
        routes: where an app is reached, and what people get there.
        restarts: which containers have ended by themselves lately.
        probe: asks their web services.
    """

    def __init__(
        self, runtime: Runtime, databases: Databases, routes: Routes, restarts: Restarts, probe: Probe
    ) -> None:
        self._runtime = runtime
        self._databases = databases
        self._routes = routes
        self._restarts = restarts
        self._looks: dict[tuple[App, bool], Coalesced[Observation]] = {}
        self._web = probe

    async def observe(self, app: App, *, fresh_login: bool = False) -> Observation:
        """Look at an app now.

        Args:
            fresh_login: log in to the database anew instead of using a session of the last seconds.
        """
        look = self._looks.get((app, fresh_login))
        if look is None:
            look = self._looks[app, fresh_login] = Coalesced(
                lambda: self._observe(app, fresh_login), gather=_GATHER_SECONDS
            )
        seen = await look.get()
        if not seen.exists:
            self.forget(app)  # names that are no apps must not fill the memory
        return seen

    def forget(self, app: App) -> None:
        for fresh in (True, False):
            self._looks.pop((app, fresh), None)

    async def _observe(self, app: App, fresh_login: bool) -> Observation:
        try:
            return await self._observe_release(app, fresh_login)
        except StateUnreadable as error:
            return Observation(
                health=UNKNOWN,
                exists=app.exists,
                containers=(),
                release=None,
                urls=(),
                database=None,
                maintenance=self._routes.is_in_maintenance(app),
                checks={"state": ProbeResult(False, error.message)},
            )

    async def _observe_release(self, app: App, fresh_login: bool) -> Observation:
        (state, containers, release, path), (exists, database) = await asyncio.gather(
            self._find_serving(app), self._try_login(app, fresh_login)
        )
        record = state.record
        if release is None or (record.serving is not None and record.serving.down):
            path = ProbeResult(False, "Nothing serves." if release else "Nothing serves yet.")
        none = {name for name, number in read_scale(app).items() if number == 0}
        loops = await self._find_loops(containers)
        checks = {
            "containers": _check_containers(release, containers, none, loops),
            "healthPath": path,
            "database": database,
        }
        if record.underway is not None and record.underway.trouble is not None:
            checks["rollout"] = ProbeResult(False, record.underway.trouble)
        return Observation(
            health=_judge(release, containers, checks, loops),
            exists=app.exists,
            containers=containers,
            release=release,
            urls=self._routes.list_urls(app, release) if containers else (),
            database=exists,
            maintenance=self._routes.is_in_maintenance(app),
            checks=checks,
            starting=_list_starting(state),
            standby=record.standby,
        )

    async def _find_serving(self, app: App) -> tuple[AppState, Sequence[Replica], Release | None, ProbeResult]:
        """Find all that the app has, what of it serves, and whether that answers."""
        state = await self._runtime.observe(app)
        release = Releases(app).find_serving(state.record.serving)
        web, containers = release.routed if release else None, state.serving
        return state, containers, release, await self._ask_web(app, web, containers)

    async def _find_loops(self, containers: Sequence[Replica]) -> dict[str, str]:
        """Containers that keep restarting, by id, and how."""

        async def look(item: Replica) -> str | None:
            lives = await self._runtime.read_restarts(item.id)
            return None if lives is None else self._restarts.describe_trouble(item, lives, time.time())

        asked = [item for item in containers if self._restarts.may_loop(item)]
        said = await asyncio.gather(*map(look, asked))
        return {item.id: trouble for item, trouble in zip(asked, said, strict=True) if trouble}

    async def _ask_web(self, app: App, web: Web | None, containers: Sequence[Replica]) -> ProbeResult:
        if web is None:
            return ProbeResult(None, "Nothing is routed to the app, so no health path is asked.")
        return await self._web.explain(app, web, containers)

    async def _try_login(self, app: App, fresh: bool) -> tuple[bool | None, ProbeResult]:
        owned = credentials.find(app)
        if owned is None:
            return False, ProbeResult(None, "The app has no database.")
        try:
            await self._databases.check_login(owned, fresh=fresh)
        except IkomaError as error:
            try:
                exists = (await self._databases.read_state(app.name)).exists
            except IkomaError:
                return None, ProbeResult(False, error.message)
            return exists, ProbeResult(False, error.message if exists else f"The database {owned.database} is gone.")
        return True, ProbeResult(True, f"The database accepts the role {owned.role}.")


def _list_starting(state: AppState) -> list[tuple[str, Replica]]:
    """List the replicas that a rollout under way has made, each with the release that it is to serve."""
    underway = state.record.underway
    return [(underway.release, item) for item in state.select(ReplicaPart.STARTING)] if underway else []


def _check_containers(
    release: Release | None, containers: Sequence[Replica], none: Collection[str], loops: Mapping[str, str]
) -> ProbeResult:
    """Check that the containers of what was deployed run and their healthchecks pass.

    Args:
        none: services that were scaled to none.
        loops: containers that keep restarting, by id, and how.
    """
    if not containers:
        return ProbeResult(False, "No containers." if release else "Nothing is deployed yet.")
    wrong = [loops.get(container.id) or _find_trouble(container) for container in containers]
    by_service = {container.service: container for container in containers}
    for name, record in (release.long_running if release else {}).items():
        if name not in by_service and (name in none or record.scale == 0 or record.is_job):
            continue
        if name not in by_service:
            wrong.append(f"{name} has no container")
        elif record.configuration is not None and by_service[name].configuration != record.configuration:
            wrong.append(f"{name} runs another configuration than the one deployed")
    found = Counter(trouble for trouble in wrong if trouble)
    ended = dict.fromkeys(said for item in containers if (said := _describe_end(item)))
    if found:
        return ProbeResult(False, "; ".join((*(_format_times(*item) for item in found.items()), *ended)) + ".")
    running = sum(item.state == "running" for item in containers if not item.one_shot)
    return ProbeResult(True, "; ".join((f"{running} running as deployed", *ended)) + ".")


def _format_times(trouble: str, number: int) -> str:
    return trouble if number == 1 else f"{trouble} ({number} containers)"


def _describe_end(container: Replica) -> str | None:
    """Describe how a service that is to end has ended: others have their troubles told."""
    if container.is_done or (container.one_shot and container.state == "exited" and container.exit_code == 0):
        return f"{container.service} has ended well"
    return f"{container.service} is still at work" if container.one_shot and container.state == "running" else None


def _find_trouble(container: Replica) -> str | None:
    if container.one_shot:
        failed = container.state != "running" and container.exit_code != 0
        return f"{container.service} ended with exit code {container.exit_code}" if failed else None
    if container.is_done:
        return None
    if container.state != "running":
        code = "" if container.exit_code is None else f" (exit code {container.exit_code})"
        return f"{container.service} is {container.state}{code}"
    return f"{container.service} is {container.health}" if container.health not in (None, "healthy") else None


def _judge(
    release: Release | None, containers: Sequence[Replica], checks: Mapping[str, ProbeResult], loops: Collection[str]
) -> str:
    lasting = [container for container in containers if not container.one_shot and not container.is_done]
    if not lasting and not any(container.is_done for container in containers):
        return STOPPED
    if (
        lasting
        and all(container.state in ("exited", "created") for container in lasting)
        and all(container.exit_code in (None, *_STOPPED_BY_REQUEST) for container in lasting)
    ):
        return STOPPED
    if all(check.passed is not False for check in checks.values()):
        return HEALTHY
    if (
        any(container.health == "starting" for container in lasting)
        and not loops
        and not any(container.health == "unhealthy" or container.state != "running" for container in lasting)
    ):
        return STARTING
    return UNHEALTHY
