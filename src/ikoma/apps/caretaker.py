"""Looks after what runs while nobody calls: routes follow containers, new releases are watched, standby ends.

A release that turns unhealthy within its watch window is left for the one before, by the same call that a person would
make. What a killed server left half-done is finished or undone as soon as the engine answers.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

from ikoma.apps.deployment import Deployments
from ikoma.apps.folder import App, Apps, logged
from ikoma.apps.preview import Preview
from ikoma.apps.previews import Previews
from ikoma.apps.rollout_state import RolloutState
from ikoma.apps.traffic import Traffic
from ikoma.errors import AppBusy, IkomaError, StateUnreadable
from ikoma.model import AppName
from ikoma.ports import Change, Engine

log = logging.getLogger("ikoma")

_LOOK_SECONDS = 1.0
_REMEMBERED = 1000
_AGAIN_SECONDS = 60.0

GoBack = Callable[[App, str, str], Awaitable[None]]
"""Calls deploy.rollback for an app: the release to go back to, and why."""
EndPreview = Callable[[Preview], Awaitable[None]]
"""Calls preview.remove for a preview."""


class Caretaker:
    """Looks after the apps of one root.

    Args:
        lock: holds an app's lock, and raises AppBusy where someone else does.
    """

    def __init__(
        self,
        engine: Engine,
        apps: Apps,
        deployments: Deployments,
        traffic: Traffic,
        previews: Previews,
        *,
        lock: Callable[[AppName], AbstractAsyncContextManager[None]],
        go_back: GoBack,
        end_preview: EndPreview,
    ) -> None:
        self._engine = engine
        self._apps = apps
        self._deployments = deployments
        self._traffic = traffic
        self._lock = lock
        self._go_back = go_back
        self._previews = previews
        self._end_preview = end_preview
        self._tried: dict[str, float] = {}
        """When it was last tried, in vain, to end a preview."""
        self._changed: set[AppName] = set()
        self._died: dict[str, tuple[float, int | None]] = {}
        """When containers ended last, and how: id → Unix time and exit code."""
        self._left: set[str] = set()

    async def run(self) -> None:
        """Never returns."""
        following = asyncio.ensure_future(self._engine.watch(self._note))
        try:
            self._changed |= set(self._apps.names())
            while True:
                with logged("the caretaker"):
                    for name in (self._changed & set(self._apps.names())) | self._watched():
                        self._changed.discard(name)
                        with logged(name):
                            await self._look(self._apps.at(name))
                    await self._end_previews()
                await asyncio.sleep(_LOOK_SECONDS)
        finally:
            following.cancel()

    def _note(self, change: Change) -> None:
        self._changed.add(AppName(change.project))
        if change.container is not None and change.happened == "die":
            self._died[change.container] = time.time(), change.exit_code
            if len(self._died) > _REMEMBERED:
                self._died.pop(next(iter(self._died)))

    def _watched(self) -> set[AppName]:
        return {name for name in self._apps.names() if _is_watched(self._apps.at(name))}

    async def _look(self, app: App) -> None:
        if self._deployments.is_ending(app):
            self._changed.add(app.name)  # once they have ended
            return
        try:
            async with self._lock(app.name):
                if self._deployments.is_ending(app):  # of a call that has ended while this waited
                    self._changed.add(app.name)
                    return
                done = await self._deployments.recover(app)
                await self._traffic.refresh(app)
                trouble = await self._trouble(app)
                if done:
                    log.warning("%s: %s", app.name, done)
        except AppBusy:
            self._changed.add(app.name)  # who works on it leaves it in order, or may be cut off
            return
        except IkomaError as error:
            log.warning("%s: %s", app.name, error.message)
            self._changed.add(app.name)
            return
        if trouble is not None:
            await self._leave(app, trouble)

    async def _end_previews(self) -> None:
        """End previews whose time is over or whose app is gone, each by the call that a person would make."""
        for preview in self._previews.due():
            if time.monotonic() - self._tried.get(preview.name, -_AGAIN_SECONDS) < _AGAIN_SECONDS:
                continue
            self._tried[preview.name] = time.monotonic()
            try:
                await self._end_preview(preview)
                del self._tried[preview.name]
                log.info("%s: the preview has ended", preview.name)
            except IkomaError as error:
                log.warning("%s: the preview could not be ended: %s", preview.name, error.message)

    async def _trouble(self, app: App) -> str | None:
        """Why the release that serves is broken, while the one before is in standby; that ends with its window."""
        state = RolloutState(app)
        standby, serving = state.standby(), state.serving()
        if standby is None or serving is None:
            return None
        if time.time() >= standby.until:
            await self._deployments.end_standby(app)
            return None
        for item in await self._engine.containers(app.name):
            if state.serves(item) and item.id not in standby.kept and not item.one_shot:
                died, code = self._died.get(item.id, (0.0, item.exit_code))
                if died > serving.since or item.state in ("restarting", "exited", "dead"):
                    return f"{item.service} exited" + ("" if code is None else f" with code {code}")
                if item.health == "unhealthy":
                    return f"{item.service} is unhealthy"
        return None

    async def _leave(self, app: App, trouble: str) -> None:
        state = RolloutState(app)
        standby, serving = state.standby(), state.serving()
        if standby is None or serving is None or serving.rollout in self._left:
            return
        self._left.add(serving.rollout)
        log.error("%s: the release %s is left for %s: %s", app.name, serving.release, standby.release, trouble)
        try:
            await self._go_back(app, standby.release, f"{serving.release} turned unhealthy: {trouble}")
        except AppBusy:  # somebody was quicker: if the release serves after that, it is looked at again
            self._left.discard(serving.rollout)
        except IkomaError as error:
            log.error("%s: going back to %s failed: %s", app.name, standby.release, error.message)


def _is_watched(app: App) -> bool:
    try:
        return RolloutState(app).standby() is not None
    except StateUnreadable:  # a look at the app says so
        return False
