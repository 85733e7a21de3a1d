"""Deploying, restarting and going back: each is a release that is rolled out.

A deploy makes a new release of the app's folder, a restart rolls the one that serves out again, and going back rolls
out an earlier one. Whatever fails leaves the release that served before serving.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from ikoma.app_folder import App
from ikoma.apps.database.migrating import DatabaseMigrator, DatabaseRollback, ForwardMigration
from ikoma.apps.database.rollback_planning import STAYS, DatabaseRollbackPlan
from ikoma.apps.deploying.images_again import provide_again
from ikoma.apps.deploying.new_release import begin_release, record_images
from ikoma.apps.deploying.recovery import Recovery
from ikoma.apps.deploying.release_history import ReleaseHistory
from ikoma.apps.deploying.release_tree import place_again, place_new, share_source
from ikoma.apps.deploying.rollback import RollbackRequest, Rollbacks
from ikoma.apps.deploying.scale_limits import require_scalable
from ikoma.apps.deploying.written_folders import adopt_folders, find_copies_in_use
from ikoma.apps.environment import variable_history
from ikoma.apps.files import retention
from ikoma.apps.policy.enforcement import Policy
from ikoma.apps.releases.release import Release, Releases
from ikoma.apps.releases.scale import apply_scale
from ikoma.apps.releases.scaling import fit_scale
from ikoma.apps.rollouts import images, injection
from ikoma.apps.rollouts.answering import Answering
from ikoma.apps.rollouts.kept_logs import keep_logs
from ikoma.apps.rollouts.release_contents import ReleaseContents
from ikoma.apps.rollouts.rollouts import Rollouts
from ikoma.apps.routing.probe import Probe
from ikoma.apps.routing.routes import Routes
from ikoma.apps.validation.engine_facts import find_engine_facts
from ikoma.compose.model import EMPTY, ComposeModel
from ikoma.compose.services import replace_image
from ikoma.errors import (
    EngineUnavailable,
    NotDeployed,
)
from ikoma.ports.databases import Databases, Migration
from ikoma.ports.progress import Progress
from ikoma.ports.rollout import RolloutResult, RolloutTarget
from ikoma.ports.runtime import Engine
from ikoma.rollout_state import RolloutState


@dataclass(frozen=True, slots=True)
class DeployOptions:
    """Options of a rollout, as a caller gives them.

    Args:
        caller: who.
        reason: why, in the caller's words.
        timeout: seconds until every service must be healthy, builds and pulls not counted.
    """

    caller: str
    timeout: float
    progress: Progress
    reason: str = ""
    final: bool = False
    """Whether nothing is kept of what is replaced: it is known to be broken."""


class Deployer:
    """Deploys apps. Callers hold the app's lock.

    Args:
        memory: the limit in bytes of a container that names none.
    """

    def __init__(
        self,
        engine: Engine,
        databases: Databases,
        probe: Probe,
        policy: Policy,
        routes: Routes,
        rollouts: Rollouts,
        migrator: DatabaseMigrator,
        rollbacks: Rollbacks,
        history: ReleaseHistory,
        recovery: Recovery,
        *,
        memory: int,
    ) -> None:
        self._engine = engine
        self._databases = databases
        self._answering = Answering(engine.runtime, probe)
        self._policy = policy
        self._routes = routes
        self._rollouts = rollouts
        self._migrator = migrator
        self._rollbacks = rollbacks
        self._history = history
        self._recovery = recovery
        self._memory = memory

    async def deploy(
        self,
        app: App,
        model: ComposeModel,
        options: DeployOptions,
        *,
        variables: Mapping[str, str],
        env: Mapping[str, str],
        texts: Mapping[str, str],
        migrations: Sequence[Migration] | None = None,
    ) -> tuple[Release, RolloutResult]:
        """Make a release of a resolved model, and let it take over.

        Args:
            variables: what the app's .env sets, as it was read for the model.
            env: further variables for the containers.
            texts: the compose files as they are written, to be kept.
            migrations: those of the folder, where they were examined with the model; else they are read.

        Raises:
            DeployFailed: with the failing service, its exit code and its last log lines.
            ProjectNameTaken: containers of this name belong to another folder.
        """
        await self._recovery.settle(app, options.progress)
        await asyncio.to_thread(variable_history.keep_present, app)
        frozen = injection.freeze(app, model, env=env, memory=self._memory, variables=variables)
        runs = await self._check(app, frozen)
        in_use = await self._adopt(app, frozen, options.progress)
        given = {**variables, **env}
        release = begin_release(app, frozen, options)
        earlier = Releases(app).find_current()
        Releases(app).open(release, frozen, given, texts)
        async with self._history.record_failure(app, release) as ledger:
            options.progress("keeping the source")
            contents = await asyncio.to_thread(place_new, app, release, frozen, earlier, in_use)
            found = await images.provide(self._engine.images, frozen, contents.folder, progress=options.progress)
            change = await self._migrator.plan_forward(
                app, release.id, frozen.x_ikoma.release_command, ledger, migrations
            )
            release = replace(record_images(release, found), compatible=not change.stops_first)
            Releases(app).write(release)
            rolled = await self._roll(app, release, runs, replace(contents, images=found), options, change=change)
        release = replace(release, applied=change.applied, backup=rolled.backup, output=change.output)
        same = None if change.applied else ledger
        return await self._history.record_served(app, release, rolled.configurations, same), rolled

    async def restart(self, app: App, options: DeployOptions) -> tuple[Release, RolloutResult]:
        """Replace the containers of the release that serves by new ones."""
        await self._recovery.settle(app, options.progress)
        release = Releases(app).require_current()
        return await self._roll_again(app, release, options, again=True)

    async def is_serving(self, app: App) -> bool:
        """Whether a release serves, as its record and its containers say."""
        serving = RolloutState(app).read_serving()
        return serving is not None and not serving.down and bool((await self._engine.runtime.observe(app)).replicas)

    async def serve_again(self, app: App, options: DeployOptions) -> tuple[Release, RolloutResult]:
        """Let the release serve that did, on a machine that may not have its images any more: they are made again.

        Raises:
            NotDeployed
            DeployFailed: an image cannot be built or pulled.
        """
        await self._recovery.settle(app, options.progress)
        release = Releases(app).require_current()
        release = await provide_again(self._engine.images, app, release, progress=options.progress)
        return await self._roll_again(app, release, options, again=True)

    async def go_back(
        self, app: App, request: RollbackRequest, options: DeployOptions
    ) -> tuple[Release, RolloutResult, DatabaseRollbackPlan]:
        """Let an earlier release serve again.

        Raises:
            NothingToGoBackTo, AlreadyServing, ReleaseNotFound
            DatabaseAhead: the release cannot run with the database as it is.
            CannotGoBack: the database cannot be taken back.
        """
        await self._recovery.settle(app, options.progress)
        release, left = self._rollbacks.find_target(app, request.to), Releases(app).find_current()
        change = await self._rollbacks.plan_change(app, release, database=request.database)
        async with self._history.leave(
            app, left, options.reason or f"It was left for {release.id}.", final=options.final
        ):
            served, rolled = await self._roll_again(app, release, options, again=False, change=change)
        return served, rolled, change.plan if change else STAYS

    async def scale(
        self, app: App, service: str, replicas: int, options: DeployOptions
    ) -> tuple[Release, RolloutResult]:
        """Give a service of the release that serves another number of containers, which later releases keep.

        Raises:
            NotDeployed: nothing serves.
            ServiceNotFound, CannotRunTwice, WebNeeded
        """
        await self._recovery.settle(app, options.progress)
        release = self._require_serving(app)
        await require_scalable(self._engine.runtime, app, release, service, replicas)
        with apply_scale(app, service, replicas):
            return await self._roll_again(app, release, options, again=False)

    async def replace_image(
        self, app: App, service: str, image: str, options: DeployOptions
    ) -> tuple[Release, RolloutResult]:
        """Make a release that is the one that serves but for the image of one service, and let it take over.

        The app's folder has no part in it: neither its compose file nor its source nor its migrations.

        Raises:
            NotDeployed, ServiceNotFound, ServiceIsBuilt, PolicyViolation, DeployFailed
        """
        await self._recovery.settle(app, options.progress)
        releases = Releases(app)
        earlier = self._require_serving(app)
        model = replace_image(app.name, releases.read_model(earlier.id), service, image)
        runs = await self._check(app, model, judged=f"{image[:80]} is not allowed")
        in_use = await self._adopt(app, model, options.progress)
        given = releases.read_variables(earlier)
        release = replace(begin_release(app, model, options), commit=earlier.commit)
        folder = releases.open(release, model, given, releases.read_texts(earlier))
        async with self._history.record_failure(app, release):
            kept = earlier.images
            share_source(app, earlier, folder)
            contents = await asyncio.to_thread(place_again, app, release, model, {}, in_use)
            found = await images.provide_one(
                self._engine.images,
                service,
                model,
                contents.folder,
                kept=kept,
                progress=options.progress,
            )
            change = self._migrator.plan_command(app, release.id, model.x_ikoma.release_command)
            release = replace(record_images(release, found), compatible=not change.stops_first)
            releases.write(release)
            rolled = await self._roll(app, release, runs, replace(contents, images=found), options, change=change)
        release = replace(release, applied=change.applied, backup=rolled.backup, output=change.output)
        return await self._history.record_served(app, release, rolled.configurations), rolled

    async def allow_command(self, app: App) -> Release:
        """Let the policy of now judge what a command in the release that serves may do; returns this release.

        Raises:
            NotDeployed, PolicyViolation
        """
        await self._recovery.settle(app)
        release = self._require_serving(app)
        model = Releases(app).read_model(release.id)
        runs = injection.inject(app, model, self._databases.find_endpoint())
        await self._policy.require(app, runs, await find_engine_facts(self._engine, app))
        return release

    async def take_down(self, app: App, progress: Progress) -> None:
        """Take an app out of service: requests under way may end, then its containers and networks go."""
        await self._recovery.check_project(app)
        try:
            await self._routes.take_down(app)
            runtime = self._engine.runtime
            await keep_logs(runtime, app, (await runtime.observe(app)).replicas)
            await runtime.take_down(app, progress)
        except BaseException:
            await asyncio.shield(self._resume_serving(app))
            raise
        RolloutState(app).take_down()

    async def forget(self, app: App, *, images_too: bool = True) -> None:
        """Forget an app that is gone: its route and, unless it may come back, the names of its images."""
        await self._routes.forget(app)
        if images_too:
            await images.forget(self._engine.images, app.name)

    async def _resume_serving(self, app: App) -> None:
        """Send requests to the containers that are left, after taking an app down has failed or was cancelled."""
        with suppress(EngineUnavailable):  # the reconciler does it when the engine is back
            await self._routes.refresh(app)

    def _require_serving(self, app: App) -> Release:
        release, serving = Releases(app).find_current(), RolloutState(app).read_serving()
        if release is None or serving is None or serving.down:
            raise NotDeployed(f"{app.name} is not in service.")
        return release

    async def _roll_again(
        self,
        app: App,
        release: Release,
        options: DeployOptions,
        *,
        again: bool,
        change: ForwardMigration | DatabaseRollback | None = None,
    ) -> tuple[Release, RolloutResult]:
        """Roll out a release that was made before: from its own record, judged by the policy of now."""
        releases = Releases(app)
        model = releases.read_model(release.id)
        runs = await self._check(app, model)
        in_use = await self._adopt(app, model, options.progress)
        found = release.images
        await images.require_and_name(self._engine.images, app.name, release.id, found)
        contents = await asyncio.to_thread(place_again, app, release, model, found, in_use)
        async with self._history.explain_failure(app, release):
            rolled = await self._roll(app, release, runs, contents, options, again=again, change=change)
        return await self._history.record_served(app, release, rolled.configurations), rolled

    async def _check(self, app: App, frozen: ComposeModel, *, judged: str | None = None) -> ComposeModel:
        """Check a model by the policy, and that its domains are free; returns what runs, which is not read again.

        Args:
            judged: how a refusal begins, where what is refused was not deployed before.
        """
        runs = injection.inject(app, frozen, self._databases.find_endpoint())
        await self._policy.require(app, runs, await find_engine_facts(self._engine, app), judged=judged)
        self._routes.check_domains(app, (*frozen.x_ikoma.domains, *frozen.x_ikoma.redirects))
        return runs

    async def _require_fixed(self, app: App, model: ComposeModel) -> None:
        """Refuse mounts, as they are made, that a replica could change."""
        facts = await find_engine_facts(self._engine, app, owners={})  # whose a volume or network is plays no part
        await self._policy.require_fixed(app, model, facts)

    async def _adopt(self, app: App, model: ComposeModel, progress: Progress) -> Sequence[str]:
        """Let what containers wrote outlive the release that they have it from; the releases whose copies are in use.

        Earlier versions kept what was written in src/ and config/ in a copy of the release's own.
        """
        there = (await self._engine.runtime.observe(app)).serving
        in_use = find_copies_in_use(app, [item.release for item in there if item.release])
        await asyncio.to_thread(retention.tidy, app)
        kept = await asyncio.to_thread(adopt_folders, app, in_use, model.x_ikoma.source)
        for path in kept:
            progress(f"containers have changed it too: your version is kept as .ikoma/{path}")
        return in_use

    async def _roll(
        self,
        app: App,
        release: Release,
        runs: ComposeModel,
        contents: ReleaseContents,
        options: DeployOptions,
        *,
        again: bool = False,
        change: ForwardMigration | DatabaseRollback | None = None,
    ) -> RolloutResult:
        web, current = release.routed, Releases(app).find_current()
        target = RolloutTarget(
            release=release.id,
            model=runs,
            parts=contents.make_parts(runs),
            extension=release.x_ikoma,
            web=web,
            again=again,
            stops_first=change is not None and change.stops_first,
            command=change.command if change is not None else None,
            watch=0.0 if options.final else release.x_ikoma.watch,
            scale=fit_scale(app, runs),
            before=Releases(app).read_model(current.id) if current else EMPTY,
        )
        return await self._rollouts.roll(
            app,
            target,
            change=change,
            judge=partial(self._require_fixed, app),
            answers=partial(self._answering.wait, app, web, options.timeout),
            timeout=options.timeout,
            progress=options.progress,
        )
