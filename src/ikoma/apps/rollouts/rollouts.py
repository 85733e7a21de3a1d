"""Rollouts of apps: planned as data, carried out by the engine, with the app's part at each moment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from ikoma.app_folder import App
from ikoma.apps.database.migrating import DatabaseMigrator
from ikoma.apps.rollouts.takeover import AppHooks, ReleaseHooks
from ikoma.apps.routing.routes import Routes
from ikoma.compose.model import ComposeModel
from ikoma.ports.progress import Progress, ignore_progress
from ikoma.ports.replicas import Replica
from ikoma.ports.rollout import DatabaseChange, RolloutPlan, RolloutResult, RolloutTarget
from ikoma.ports.runtime import Runtime


class Rollouts:
    """Rolls releases out. Callers hold the app's lock."""

    def __init__(self, runtime: Runtime, routes: Routes, migrator: DatabaseMigrator) -> None:
        self._runtime = runtime
        self._routes = routes
        self._migrator = migrator

    async def plan(self, app: App, target: RolloutTarget) -> RolloutPlan:
        """Plan a rollout as it would be carried out now."""
        return await self._runtime.plan(app, target)

    async def roll(
        self,
        app: App,
        target: RolloutTarget,
        *,
        change: DatabaseChange | None,
        judge: Callable[[ComposeModel], Awaitable[None]],
        answers: Callable[[Sequence[Replica]], Awaitable[None]],
        timeout: float,
        progress: Progress,
    ) -> RolloutResult:
        """Bring a release up and let it take over.

        Args:
            change: what is done with the database, immediately before the new replicas start.
            judge: refuses mounts, as they are made, that a replica could change.
            answers: waits until these replicas answer HTTP; raises where they don't.
            timeout: seconds until every replica must be healthy.

        Raises:
            DeployFailed: something did not come up; what served before serves, and what is in standby stays so.
        """
        hooks = ReleaseHooks(self._runtime, self._routes, self._migrator, app, target, change, judge, answers)
        await self._runtime.recover(app, hooks, progress)
        plan = await self._runtime.plan(app, target)
        return await self._runtime.roll(app, target, plan, hooks, timeout=timeout, progress=progress)

    async def recover(self, app: App, progress: Progress = ignore_progress) -> str | None:
        """Finish or undo a rollout that was interrupted; what was done, or None where there was nothing to do."""
        return await self._runtime.recover(app, self._make_hooks(app), progress)

    def is_ending(self, app: App) -> bool:
        """Whether replicas that were replaced are still ending."""
        return self._runtime.is_ending(app)

    async def end_standby(self, app: App) -> None:
        """Let go of what was kept of the rollout before."""
        await self._runtime.end_standby(app, self._make_hooks(app))

    def _make_hooks(self, app: App) -> AppHooks:
        return AppHooks(self._runtime, self._routes, self._migrator, app)
