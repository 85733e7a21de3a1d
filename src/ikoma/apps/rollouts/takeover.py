"""The app's part in a rollout: its requests, its database, its logs, and the record of what serves.

The engine makes and moves replicas, and calls these at the moments of ports/rollout.py. What counts happens here and in
no engine: `ReleaseHooks.serve` writes `serving.json`, and from then on the release serves.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from ikoma.app_folder import App
from ikoma.apps.database.migrating import DatabaseMigrator
from ikoma.apps.rollouts.kept_logs import keep_logs
from ikoma.apps.rollouts.way_out import tell_way_out
from ikoma.apps.routing.probe import find_other_ports
from ikoma.apps.routing.routes import Routes
from ikoma.compose.model import ComposeModel
from ikoma.errors import IkomaError
from ikoma.ports.progress import ignore_progress
from ikoma.ports.replicas import Replica
from ikoma.ports.rollout import DatabaseChange, RolloutTarget
from ikoma.ports.runtime import Runtime
from ikoma.rollout_state import RolloutState, Serving, Underway


@dataclass(frozen=True, slots=True)
class AppHooks:
    """The part of an app where a rollout of it is undone or finished."""

    runtime: Runtime
    routes: Routes
    migrator: DatabaseMigrator
    app: App

    async def keep_logs(self, replicas: Sequence[Replica]) -> None:
        await keep_logs(self.runtime, self.app, replicas)

    async def restore_database(self, backup: str) -> None:
        await self.migrator.restore(self.app, backup, ignore_progress)

    def tell_unrestored(self, cause: IkomaError, underway: Underway, trouble: IkomaError) -> None:
        tell_way_out(cause, underway, trouble)

    async def refresh_route(self) -> None:
        await self.routes.refresh(self.app)

    async def restore_route(self) -> None:
        await self.routes.restore_route(self.app)

    async def restore_switch(self) -> None:
        await self.routes.restore_switch(self.app)

    async def drain(self) -> int:
        return await self.routes.drain(self.app)


@dataclass(frozen=True, slots=True)
class ReleaseHooks(AppHooks):
    """The part of an app while one of its releases is rolled out.

    Args:
        judge: refuses mounts, as they are made, that a replica could change.
        answers: waits until these replicas answer HTTP, where the app does; raises where they don't.
    """

    target: RolloutTarget
    change: DatabaseChange | None
    judge: Callable[[ComposeModel], Awaitable[None]]
    answers: Callable[[Sequence[Replica]], Awaitable[None]]

    async def check(self, model: ComposeModel) -> None:
        await self.judge(model)

    async def set_route(self, replicas: int) -> None:
        await self.routes.set_route(self.app, self.target.web, self.target.extension, replicas)

    async def pause(self) -> None:
        await self.routes.pause(self.app, self.target.extension.drain)

    async def wait_for_answers(self, replicas: Sequence[Replica]) -> None:
        await self.answers(replicas)

    async def explain_silence(self, replicas: Sequence[Replica]) -> str:
        web = self.target.web
        return "" if web is None else await find_other_ports(self.runtime, web, replicas)

    def serve(self, rollout: str) -> None:
        """Write down that the release serves: from here on it does."""
        RolloutState(self.app).write(Serving(self.target.release, rollout, time.time()))

    def switch(self, replicas: Sequence[Replica]) -> None:
        self.routes.switch(self.app, self.target.web, replicas)
