"""A deployment, step by step: the release is recorded, the engine starts it, its health path answers, it serves.

A failure at any step leaves a failed release with its cause, and the release that served before stays the current
one in the records.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson

from ikoma.apps import credentials, environment, source
from ikoma.apps.compose_file import Web
from ikoma.apps.folder import App
from ikoma.apps.health import HealthObserver
from ikoma.apps.logs import app_secrets
from ikoma.apps.policy.enforcement import Policy
from ikoma.apps.release import Release, Releases, ServiceRecord, deployable, new_release
from ikoma.errors import DeployFailed, IkomaError, ProjectNameTaken
from ikoma.ports import Container, Databases, Deployed, Engine, Progress

_ANSWER_SECONDS = 15.0
_PAUSE = 0.2


class Deployments:
    """Deploys and restarts apps.

    Args:
        memory: the limit in bytes of a container that names none.
    """

    def __init__(
        self, engine: Engine, databases: Databases, health: HealthObserver, policy: Policy, memory: int
    ) -> None:
        self._engine = engine
        self._policy = policy
        self._memory = memory
        self._databases = databases
        self._health = health

    async def deploy(
        self,
        app: App,
        model: Mapping[str, Any],
        *,
        env: Mapping[str, str],
        caller: str,
        timeout: float,
        progress: Progress,
    ) -> tuple[Release, Deployed]:
        """Make a release of a resolved model and see it healthy.

        Args:
            env: further variables for the containers.
            timeout: seconds until every service must be healthy, builds and pulls not counted.

        Raises:
            DeployFailed: with the failing service, its exit code and its last log lines.
            ProjectNameTaken: containers of this name belong to another folder.
        """
        await self.check_project(app)
        owned = credentials.find(app)
        endpoint = self._databases.endpoint()
        database = credentials.variables(owned, endpoint) if owned else {}
        runs = deployable(app, model, env=env, database=database, endpoint=endpoint, memory=self._memory)
        # What Compose made of the files was judged; so is what runs, and nothing is read again in between.
        await self._policy.require(app, runs)
        brought = source.recorded(app)
        release = new_release(caller, model, commit=brought.commit if brought else None)
        compose_file = Releases(app).open(release, runs, environment.read(app) | dict(env))
        async with self._recorded(app, release):
            deployed = await self._engine.up(
                app.name,
                compose_file,
                timeout=timeout,
                progress=progress,
                secrets=environment.secret_values(environment.read(app) | dict(env) | database),
            )
            await self._wait_until_it_answers(app, release, progress)
            containers = await self._engine.containers(app.name)
        return Releases(app).succeed(release, _services(release, containers)), deployed

    async def restart(self, app: App, *, timeout: float, progress: Progress) -> tuple[Release, Deployed]:
        """Restart the containers of the release that serves and see them healthy."""
        release, compose_file = Releases(app).require_current()
        await self.check_project(app)
        await self._policy.require(app, orjson.loads(compose_file.read_bytes()))
        deployed = await self._engine.restart(
            app.name,
            compose_file,
            timeout=timeout,
            progress=progress,
            secrets=app_secrets(app),
        )
        await self._wait_until_it_answers(app, release, progress)
        return release, deployed

    async def check_project(self, app: App) -> None:
        """Raises ProjectNameTaken where containers of this name are not this app's."""
        for container in await self._engine.containers(app.name):
            if container.working_dir != str(app.path):
                raise ProjectNameTaken(
                    f"The containers named {app.name} belong to a Compose project in {container.working_dir}."
                )

    @asynccontextmanager
    async def _recorded(self, app: App, release: Release) -> AsyncIterator[None]:
        try:
            yield
        except IkomaError as error:
            Releases(app).fail(release, error.audit_message)
            raise
        except asyncio.CancelledError:
            Releases(app).fail(release, "The deploy was cancelled.")
            raise

    async def _wait_until_it_answers(self, app: App, release: Release, progress: Progress) -> None:
        if release.web is None:
            return
        web = Web(**release.web)
        progress(f"{web.service}: waiting for {web.path}")
        deadline = asyncio.get_running_loop().time() + _ANSWER_SECONDS
        while not (check := await self._health.answers(app, web)).passed:
            if asyncio.get_running_loop().time() >= deadline:
                raise await self._no_answer(app, web, check.details)
            await asyncio.sleep(_PAUSE)

    async def _no_answer(self, app: App, web: Web, details: str) -> DeployFailed:
        containers = [item for item in await self._engine.containers(app.name) if item.service == web.service]
        logs = await self._engine.logs(containers[0], 20) if containers else []
        return DeployFailed(
            f"The containers run, but {web.service} is not healthy: {details}",
            service=web.service,
            exitCode=containers[0].exit_code if containers else None,
            state=containers[0].state if containers else None,
            logs=list(logs),
        )


def _services(release: Release, containers: Sequence[Container]) -> dict[str, ServiceRecord]:
    by_service = {container.service: container for container in containers}
    return {
        name: ServiceRecord(
            one_shot=record.one_shot,
            config_hash=by_service[name].config_hash if name in by_service else None,
            image=by_service[name].image if name in by_service else None,
        )
        for name, record in release.services.items()
    }
