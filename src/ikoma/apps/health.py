"""Health is observed, not guessed.

An app is healthy when the containers of its current release run, their healthchecks pass, its HTTP health path
answers, and its database accepts the app's own role. Each answer is newer than its question; many who ask at once
share one look (see kernel/coalesce.py).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import aiohttp

from ikoma.apps import credentials
from ikoma.apps.compose_file import Web
from ikoma.apps.folder import App
from ikoma.apps.release import Release, Releases
from ikoma.apps.restarts import Restarts
from ikoma.apps.rollout_state import RolloutState
from ikoma.apps.scale import scale_of_app
from ikoma.apps.traffic import Traffic
from ikoma.errors import IkomaError, StateUnreadable
from ikoma.kernel.coalesce import Coalesced
from ikoma.ports import Container, Databases, Engine

HEALTHY, UNHEALTHY, STARTING, STOPPED, UNKNOWN = "healthy", "unhealthy", "starting", "stopped", "unknown"

_GATHER_SECONDS = 0.001
_LOOKS = 3
_PROBE_SECONDS = 3.0
_WORST_OF_A_NAMED_PATH, _WORST_ANSWER = 399, 499
_STOPPED_BY_REQUEST = (0, 137, 143)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. `passed` is None where there is nothing to look at."""

    passed: bool | None
    details: str


@dataclass(frozen=True, slots=True)
class Observation:
    """How an app was a moment ago."""

    health: str
    exists: bool
    """Whether the app's folder is there."""
    containers: Sequence[Container]
    release: Release | None
    urls: tuple[str, ...]
    database: bool | None
    """Whether the app has a database; None where PostgreSQL could not be asked."""
    maintenance: bool
    """Whether people get a page that says so instead of the app."""
    checks: Mapping[str, Check] = field(default_factory=dict)

    @property
    def docker_running(self) -> bool:
        return any(container.state == "running" for container in self.containers)


class HealthObserver:
    """Looks at apps.

    Args:
        traffic: where an app is reached, and what people get there.
        restarts: which containers have ended by themselves lately.
    """

    def __init__(self, engine: Engine, databases: Databases, traffic: Traffic, restarts: Restarts) -> None:
        self._engine = engine
        self._databases = databases
        self._traffic = traffic
        self._restarts = restarts
        self._looks: dict[tuple[App, bool], Coalesced[Observation]] = {}
        self._session: aiohttp.ClientSession | None = None

    async def observe(self, app: App, *, fresh_login: bool = False) -> Observation:
        """Look at an app now.

        Args:
            fresh_login: log in to the database anew instead of using a session of the last seconds.
        """
        look = self._looks.get((app, fresh_login))
        if look is None:
            look = self._looks[app, fresh_login] = Coalesced(
                lambda: self._look(app, fresh_login), gather=_GATHER_SECONDS
            )
        seen = await look.get()
        if not seen.exists:
            self.forget(app)  # names that are no apps must not fill the memory
        return seen

    async def answers(self, web: Web, containers: Sequence[Container]) -> Check:
        """Whether the HTTP health path of each of these containers of the web service answers 2xx or 3xx."""
        checks = await asyncio.gather(*(self._probe(web, [item]) for item in containers if item.service == web.service))
        failed = [check for check in checks if not check.passed]
        return (failed or list(checks) or [Check(False, f"No container of {web.service} runs.")])[0]

    def forget(self, app: App) -> None:
        for fresh in (True, False):
            self._looks.pop((app, fresh), None)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _look(self, app: App, fresh_login: bool) -> Observation:
        try:
            return await self._look_at(app, fresh_login)
        except StateUnreadable as error:
            return Observation(
                health=UNKNOWN,
                exists=app.exists,
                containers=(),
                release=None,
                urls=(),
                database=None,
                maintenance=self._traffic.in_maintenance(app),
                checks={"state": Check(False, error.message)},
            )

    async def _look_at(self, app: App, fresh_login: bool) -> Observation:
        release = Releases(app).current()
        web = Web(**release.web) if release and release.web else None
        (containers, path), (exists, database) = await asyncio.gather(
            self._serving(app, web), self._login(app, fresh_login)
        )
        none = {name for name, number in scale_of_app(app).items() if number == 0}
        loops = await self._loops(containers)
        checks = {"containers": _containers(release, containers, none, loops), "healthPath": path, "database": database}
        if (underway := RolloutState(app).underway()) is not None and underway.trouble is not None:
            checks["rollout"] = Check(False, underway.trouble)
        return Observation(
            health=_health(release, containers, checks, loops),
            exists=app.exists,
            containers=containers,
            release=release,
            urls=self._traffic.urls(app) if release is not None and containers else (),
            database=exists,
            maintenance=self._traffic.in_maintenance(app),
            checks=checks,
        )

    async def _serving(self, app: App, web: Web | None) -> tuple[Sequence[Container], Check]:
        state = RolloutState(app)
        containers = [item for item in await self._engine.containers(app.name) if state.serves(item)]
        return containers, await self._probe(web, containers)

    async def _loops(self, containers: Sequence[Container]) -> dict[str, str]:
        """Containers that keep restarting, by id, and how."""

        async def look(item: Container) -> str | None:
            lives = await self._engine.lives(item.id)
            return None if lives is None else self._restarts.trouble(item, lives, time.time())

        asked = [item for item in containers if self._restarts.may_loop(item)]
        said = await asyncio.gather(*map(look, asked))
        return {item.id: trouble for item, trouble in zip(asked, said, strict=True) if trouble}

    async def _probe(self, web: Web | None, containers: Sequence[Container]) -> Check:
        if web is None:
            return Check(None, "Nothing is routed to the app, so no health path is asked.")
        address = next(iter(web.addresses(containers)), None)
        if address is None:
            runs = any(item.service == web.service and item.state == "running" for item in containers)
            return Check(False, f"{web.service} has no address." if runs else f"No container of {web.service} runs.")
        if web.path is None:
            return await _connect(web, address)
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=_PROBE_SECONDS)
            self._session = aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar())
        worst = _WORST_OF_A_NAMED_PATH if web.named else _WORST_ANSWER
        try:
            async with self._session.get(f"http://{address}{web.path}", allow_redirects=False) as response:
                return Check(200 <= response.status <= worst, f"{web.path} answers {response.status}.")
        except aiohttp.ClientConnectorError:
            return Check(False, f"{web.path} does not answer: nothing takes connections at port {web.port}.")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return Check(False, f"{web.path} does not answer: {error or type(error).__name__}.")

    async def _login(self, app: App, fresh: bool) -> tuple[bool | None, Check]:
        owned = credentials.find(app)
        if owned is None:
            return False, Check(None, "The app has no database.")
        try:
            await self._databases.check_login(owned, fresh=fresh)
        except IkomaError as error:
            try:
                exists = (await self._databases.state(app.name)).exists
            except IkomaError:
                return None, Check(False, error.message)
            return exists, Check(False, error.message if exists else f"The database {owned.database} is gone.")
        return True, Check(True, f"The database accepts the role {owned.role}.")


async def _connect(web: Web, address: str) -> Check:
    """Whether the port takes connections: all that can be asked where no path is known."""
    host, port = address.rsplit(":", 1)
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            _, writer = await asyncio.open_connection(host, int(port))
    except (OSError, TimeoutError):
        return Check(False, f"Nothing takes connections at port {web.port} of {web.service}.")
    writer.close()
    return Check(True, f"Port {web.port} of {web.service} takes connections; no health path is named.")


def _containers(
    release: Release | None, containers: Sequence[Container], none: Collection[str], loops: Mapping[str, str]
) -> Check:
    """Whether the containers of what was deployed run and their healthchecks pass.

    Args:
        none: services that were scaled to none.
        loops: containers that keep restarting, by id, and how.
    """
    if not containers:
        return Check(False, "No containers.")
    wrong = [loops.get(container.id) or _trouble(container) for container in containers]
    by_service = {container.service: container for container in containers}
    for name, record in (release.long_running if release else {}).items():
        if name not in by_service and (name in none or record.scale == 0 or record.is_job):
            continue
        if name not in by_service:
            wrong.append(f"{name} has no container")
        elif record.configuration is not None and by_service[name].configuration != record.configuration:
            wrong.append(f"{name} runs another configuration than the one deployed")
    found = [trouble for trouble in wrong if trouble]
    if found:
        return Check(False, "; ".join(found) + ".")
    done = sum(item.is_done for item in containers)
    return Check(
        True,
        f"{sum(item.state == 'running' for item in containers)} running as deployed{f', {done} done' if done else ''}.",
    )


def _trouble(container: Container) -> str | None:
    if container.one_shot:
        failed = container.state != "running" and container.exit_code != 0
        return f"{container.service} ended with exit code {container.exit_code}" if failed else None
    if container.is_done:
        return None
    if container.state != "running":
        code = "" if container.exit_code is None else f" (exit code {container.exit_code})"
        return f"{container.service} is {container.state}{code}"
    return f"{container.service} is {container.health}" if container.health not in (None, "healthy") else None


def _health(
    release: Release | None, containers: Sequence[Container], checks: Mapping[str, Check], loops: Collection[str]
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
