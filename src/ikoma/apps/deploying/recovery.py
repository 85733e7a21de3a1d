"""Recovery of what a killed server left, and the end of a standby.

Every deploy, restart and rollback begins here: what was cut off is finished or undone before anything new begins.
"""

from __future__ import annotations

import asyncio

from ikoma.app_folder import App
from ikoma.apps.deploying.release_history import ReleaseHistory
from ikoma.apps.deploying.written_folders import resume_adoptions
from ikoma.apps.releases.scale import settle_scale
from ikoma.apps.rollouts.rollouts import Rollouts
from ikoma.errors import ProjectNameTaken
from ikoma.ports.progress import Progress, ignore_progress
from ikoma.ports.runtime import Runtime
from ikoma.rollout_state import Underway


class Recovery:
    """Brings apps in order. Callers hold the app's lock."""

    def __init__(self, runtime: Runtime, rollouts: Rollouts, history: ReleaseHistory) -> None:
        self._runtime = runtime
        self._rollouts = rollouts
        self._history = history

    async def settle(self, app: App, progress: Progress = ignore_progress) -> None:
        """Bring an app in order before something new begins.

        Raises:
            ProjectNameTaken: containers of this name belong to another folder.
        """
        await self.check_project(app)
        await self.recover(app, progress)

    async def recover(self, app: App, progress: Progress = ignore_progress) -> str | None:
        """Finish or undo what a killed server left, after a start; returns what was done, or None."""
        settle_scale(app)
        await asyncio.to_thread(resume_adoptions, app)
        return await self._history.recover(app, progress)

    async def abandon(self, app: App) -> Underway | None:
        """Give up taking the database of a failed rollout back; what was given up, None where it was taken back."""
        await self.check_project(app)
        return await self._history.abandon(app)

    def is_ending(self, app: App) -> bool:
        """Whether containers that were replaced are still ending."""
        return self._rollouts.is_ending(app)

    async def end_standby(self, app: App) -> None:
        """Let go of the release before, once the one that serves has stood its time."""
        await self._rollouts.end_standby(app)
        await self._history.tidy(app)

    async def check_project(self, app: App) -> None:
        """Raises ProjectNameTaken where containers of this name are not this app's."""
        for item in (await self._runtime.observe(app)).replicas:
            if item.folder != str(app.path):
                raise ProjectNameTaken(f"The containers named {app.name} belong to a Compose project in {item.folder}.")
