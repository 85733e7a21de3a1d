"""Transitions of health: an event where an app is not as it was when it was last looked at.

An app is looked at when the engine has told something of it, and again while it is not well: what gets well by itself
tells nobody.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from ikoma.app_folder import App
from ikoma.apps.observation.health import HEALTHY, STARTING, UNHEALTHY, UNKNOWN, HealthObserver
from ikoma.kernel.events import Event, EventKind, Severity

_AGAIN_SECONDS = 15.0
_SEVERITIES = {UNHEALTHY: Severity.ERROR, UNKNOWN: Severity.WARNING}


class HealthTransitions:
    """Remembers how each app was, and publishes what has changed.

    Args:
        publish: takes the events.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        observer: HealthObserver,
        publish: Callable[[Event], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._observer = observer
        self._publish = publish
        self._clock = clock
        self._known: dict[str, tuple[str, float]] = {}
        """The health of each app, and the time of the look at it."""

    async def look(self, app: App) -> None:
        """Look at an app. The first look at it tells nothing: there is no transition yet."""
        seen = await self._observer.observe(app)
        before, _ = self._known.pop(app.name, (None, 0.0))
        if not seen.exists:
            return
        self._known[app.name] = (seen.health, self._clock())
        if before not in (None, seen.health):
            severity = _SEVERITIES.get(seen.health, Severity.INFO)
            message = f"{app.name} was {before} and is {seen.health}."
            self._publish(Event(EventKind.HEALTH, severity, app.name, message=message))

    def is_due(self, app: str) -> bool:
        """Whether an app that was not well may have become so."""
        health, looked = self._known.get(app, (HEALTHY, 0.0))
        return health in (UNHEALTHY, STARTING, UNKNOWN) and self._clock() - looked >= _AGAIN_SECONDS
