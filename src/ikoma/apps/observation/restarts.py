"""Containers that end by themselves again and again: how often, since when, and whether that goes on.

A container that was started again looks well when it is looked at. So restarts count, and the time since the last one:
what keeps restarting is trouble until it has run for several times as long as it used to. Docker counts the restarts of
each container; when its last ones were is remembered here for as long as the server runs.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime

from ikoma.ports.replicas import Replica
from ikoma.ports.runtime import ReplicaEvent, RestartHistory

WINDOW = 600.0
"""The seconds for which restarts count."""

_ENOUGH = 3
_LEAST_STEADY = 60.0
_TIMES_AS_LONG = 3
_MOST_CONTAINERS, _MOST_DEATHS = 1000, 50


class Restarts:
    """The deaths of containers that nobody asked for, since this began.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._deaths: dict[str, deque[tuple[float, int | None]]] = {}

    def record(self, change: ReplicaEvent) -> None:
        """Take in what happened to a container."""
        if change.replica is None:
            return
        if change.happened == "destroy":
            self._deaths.pop(change.replica, None)
        elif change.happened == "stop" and (deaths := self._deaths.get(change.replica)):
            deaths.pop()  # somebody wanted its end
        elif change.happened == "die":
            self._deaths.setdefault(change.replica, deque(maxlen=_MOST_DEATHS)).append(
                (self._clock(), change.exit_code)
            )
            if len(self._deaths) > _MOST_CONTAINERS:
                self._deaths.pop(next(iter(self._deaths)))

    def find_last(self, container: str) -> tuple[float, int | None]:
        """Find when a container last ended by itself (monotonic time), and its exit code; long ago where never."""
        deaths = self._deaths.get(container)
        return deaths[-1] if deaths else (-math.inf, None)

    def count_since(self, container: str, moment: float) -> int:
        """Count how often a container ended by itself since a moment of monotonic time."""
        return sum(at > moment for at, _ in self._deaths.get(container, ()))

    def may_loop(self, item: Replica) -> bool:
        """Whether it is worth asking Docker how often a container was started."""
        if item.state == "restarting":
            return True
        return item.state == "running" and (item.started_again or self.count_since(item.id, self._clock() - WINDOW) > 0)

    def describe_trouble(self, item: Replica, lives: RestartHistory, now: float) -> str | None:
        """Describe the trouble of a container that keeps restarting; None where it does not, or no longer.

        Args:
            now: Unix time.
        """
        recent = [at for at, _ in self._deaths.get(item.id, ()) if at > self._clock() - WINDOW]
        knows_all = self._clock() - self._began >= WINDOW
        if lives.restarts < _ENOUGH or (knows_all and len(recent) < _ENOUGH):
            return None
        if len(recent) >= _ENOUGH:
            usual = (recent[-1] - recent[0]) / (len(recent) - 1)
        else:
            usual = (lives.started - lives.made) / lives.restarts
        steady = min(max(_TIMES_AS_LONG * usual, _LEAST_STEADY), WINDOW)
        if item.state == "running" and now - lives.started >= steady:
            return None
        code = self.find_last(item.id)[1] if item.exit_code is None else item.exit_code
        with_code = "" if code is None else f", with exit code {code}"
        return (
            f"{item.service} keeps restarting: {lives.restarts} times since {_format_time(lives.made)}, "
            f"last at {_format_time(lives.started)}{with_code}"
        )


def _format_time(unix: float) -> str:
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
