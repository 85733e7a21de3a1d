"""Progress: how work that takes a while reports how far it is."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Tells the caller how long work goes on. `fraction` is 0..1 where known."""

    def __call__(self, message: str, fraction: float | None = None) -> None: ...


BUILD_LINE = "build | "
"""How a message begins that is a line of what a build says, and no step of the work."""


def ignore_progress(message: str, fraction: float | None = None) -> None:
    """Progress for those who do not want it."""
