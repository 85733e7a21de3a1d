"""Looks after what runs while nobody calls: routes follow containers, new releases are watched, standby ends.

A release that turns unhealthy within its watch window is left for the one before, by the same call that a person would
make. What a killed server left half-done is finished or undone as soon as the engine answers.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from functools import partial

from ikoma.app_folder import App
from ikoma.apps.app import Apps, log_failures
from ikoma.apps.deploying.recovery import Recovery
from ikoma.apps.observation.restarts import Restarts
from ikoma.apps.previews.previews import Previews
from ikoma.apps.reconciliation.backoff import BackoffQueue
from ikoma.apps.reconciliation.health_transitions import HealthTransitions
from ikoma.apps.releases.release import Releases
from ikoma.apps.resolution.preview_files import Preview
from ikoma.apps.routing.routes import Routes
from ikoma.errors import AppBusy, IkomaError, StateUnreadable
from ikoma.kernel.events import Event, EventKind, Severity
from ikoma.model import AppName
from ikoma.ports.progress import Progress
from ikoma.ports.replicas import Replica
from ikoma.ports.runtime import ReplicaEvent, Runtime
from ikoma.rollout_state import RolloutState

log = logging.getLogger("ikoma")

_LOOK_SECONDS = 1.0
_REMEMBERED = 1000
_ATTEMPTS_OF_A_JOB = 6
_AGAIN_SECONDS = 60.0
_LATE_SECONDS = 300.0
"""A window that ended longer than this before the server started is over, whatever has happened since."""

GoBack = Callable[[App, str, str], Awaitable[None]]
"""Calls deploy.rollback for an app: the release to go back to, and why."""
EndPreview = Callable[[Preview], Awaitable[None]]
"""Calls preview.remove for a preview."""


class Reconciler:
    """Looks after the apps of one root.

    Args:
        restarts: takes in which containers end by themselves.
        alone: holds an app for an operation of IKOMA's own, and yields what takes its steps; raises AppBusy where
            someone else works on it.
        transitions: tells how the health of apps changes.
        publish: takes events.
    """

    def __init__(
        self,
        runtime: Runtime,
        apps: Apps,
        recovery: Recovery,
        routes: Routes,
        previews: Previews,
        *,
        restarts: Restarts,
        alone: Callable[[AppName], AbstractAsyncContextManager[Progress]],
        go_back: GoBack,
        end_preview: EndPreview,
        transitions: HealthTransitions,
        publish: Callable[[Event], None],
    ) -> None:
        self._runtime = runtime
        self._apps = apps
        self._recovery = recovery
        self._routes = routes
        self._restarts = restarts
        self._alone = alone
        self._go_back = go_back
        self._previews = previews
        self._end_preview = end_preview
        self._transitions = transitions
        self._publish = publish
        self._tried: dict[str, float] = {}
        """The time when ending a preview was last tried in vain."""
        self._changed: set[AppName] = set()
        self._left: set[str] = set()
        self._began = time.monotonic()
        self._moments: dict[float, float] = {}
        """Unix times that are on the disk, in monotonic time: a clock that is set meanwhile changes no window."""

    async def run(self) -> None:
        """Never returns. What it has begun ends with it."""
        self._changed |= set(self._apps.list_names())
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow())
            queue = BackoffQueue(tasks)
            while True:
                with log_failures("the reconciler"):
                    # Before a preview is looked at: both at once would be in each other's way.
                    for preview in self._find_due_previews():
                        queue.begin(preview.name, partial(self._remove_preview, preview))
                    for name in self._take_due():
                        queue.begin(name, partial(self._reconcile, self._apps.locate(name)))
                await asyncio.sleep(_LOOK_SECONDS)

    async def _follow(self) -> None:
        while True:
            with log_failures("following the engine"):
                await self._runtime.watch(self._enqueue)
            await asyncio.sleep(_LOOK_SECONDS)

    def _enqueue(self, change: ReplicaEvent) -> None:
        self._changed.add(AppName(change.project))
        self._restarts.record(change)

    def _take_due(self) -> list[AppName]:
        """List apps to look at: those of which something was heard, and those that are not settled or not well."""
        return [
            name
            for name in self._apps.list_names()
            if name in self._changed or self._transitions.is_due(name) or _is_unsettled(self._apps.locate(name))
        ]

    async def _reconcile(self, app: App) -> None:
        """Finish what was cut off, and leave a release that is broken."""
        heard = app.name in self._changed or self._transitions.is_due(app.name)
        self._changed.discard(app.name)
        try:
            async with self._alone(app.name) as progress:
                trouble = await self._recover(app, progress)
            if heard and trouble is None:  # of one that is only watched, there is nothing new
                await self._transitions.look(app)
        except BaseException:
            self._changed.add(app.name)  # who works on it leaves it in order, or may be cut off
            raise
        if trouble is not None:
            await self._leave(app, trouble)

    async def _recover(self, app: App, progress: Progress) -> str | None:
        if self._recovery.is_ending(app):
            self._changed.add(app.name)  # once they have ended, the rest
        elif done := await self._recovery.recover(app, progress):
            log.warning("%s: %s", app.name, done)
        await self._routes.refresh(app)
        return await self._find_trouble(app, progress)

    def _find_due_previews(self) -> Iterator[Preview]:
        """Find previews whose time is over or whose app is gone, each once in a while."""
        for preview in self._previews.list_due():
            if time.monotonic() - self._tried.get(preview.name, -_AGAIN_SECONDS) >= _AGAIN_SECONDS:
                yield preview

    async def _remove_preview(self, preview: Preview) -> None:
        """End a preview by the call that a person would make."""
        self._tried[preview.name] = time.monotonic()
        await self._end_preview(preview)
        del self._tried[preview.name]
        log.info("%s: the preview has ended", preview.name)

    async def _find_trouble(self, app: App, progress: Progress) -> str | None:
        """Find why the release that serves is broken, while the one before is in standby.

        That ends with its window, but not before somebody has looked: what happened while another held the lock counts.
        """
        state = RolloutState(app)
        standby, serving = state.read_standby(), state.read_serving()
        if standby is None or serving is None:
            return None
        since = self._convert_to_monotonic(serving.since)
        ends = self._convert_to_monotonic(standby.until, at_most=_read_watch_seconds(app))
        if serving.rollout not in self._left and ends > self._began - _LATE_SECONDS:
            for item in (await self._runtime.observe(app)).serving:
                if item.id not in standby.kept and (trouble := self._find_fault(item, since)):
                    return trouble
        if time.monotonic() >= ends and not self._recovery.is_ending(app):
            progress(f"{serving.release} has stood its time: what was kept of {standby.release} goes")
            await self._recovery.end_standby(app)
        return None

    def _find_fault(self, item: Replica, since: float) -> str | None:
        """Find the fault of a container, or the one it had since it serves."""
        if item.one_shot or item.is_done:
            return None
        died, code = self._restarts.find_last(item.id)
        code = item.exit_code if code is None else code
        if item.is_job and item.state in ("running", "restarting"):  # it may need a few attempts
            often = self._restarts.count_since(item.id, since) >= _ATTEMPTS_OF_A_JOB
            return f"{item.service} keeps exiting with code {code}" if often else None
        if died > since or item.state in ("restarting", "exited", "dead"):
            return f"{item.service} exited" + ("" if code is None else f" with code {code}")
        return f"{item.service} is unhealthy" if item.health == "unhealthy" else None

    def _convert_to_monotonic(self, unix: float, *, at_most: float = 0.0) -> float:
        """Convert a Unix time to monotonic time, as it was when first seen, and so many seconds from then at most."""
        if unix not in self._moments:
            self._moments[unix] = time.monotonic() + min(unix - time.time(), at_most)
            if len(self._moments) > _REMEMBERED:
                self._moments.pop(next(iter(self._moments)))
        return self._moments[unix]

    async def _leave(self, app: App, trouble: str) -> None:
        state = RolloutState(app)
        standby, serving = state.read_standby(), state.read_serving()
        if standby is None or serving is None:
            return
        self._left.add(serving.rollout)
        log.error("%s: the release %s is left for %s: %s", app.name, serving.release, standby.release, trouble)
        try:
            await self._go_back(app, standby.release, f"{serving.release} turned unhealthy: {trouble}")
            said = f"{serving.release} turned unhealthy ({trouble}), and {standby.release} serves again."
            self._publish(
                Event(EventKind.ROLLED_BACK, Severity.ERROR, app.name, capability="deploy.rollback", message=said)
            )
        except AppBusy:  # somebody was quicker: if the release serves after that, it is looked at again
            self._left.discard(serving.rollout)
        except IkomaError as error:
            log.error("%s: going back to %s failed: %s", app.name, standby.release, error.message)


def _read_watch_seconds(app: App) -> float:
    """Read for how long the release that serves is watched."""
    release = Releases(app).find_current()
    return release.x_ikoma.watch if release else 0.0


def _is_unsettled(app: App) -> bool:
    """Whether a release is watched, or a rollout is not finished."""
    try:
        return RolloutState(app).read_standby() is not None or RolloutState(app).read_underway() is not None
    except StateUnreadable:  # a look at the app says so
        return False
