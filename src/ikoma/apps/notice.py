"""What works otherwise here than a compose file says: nothing has to change for the app to run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Notice:
    """One such thing, and what would say it as it is."""

    file: str
    place: tuple[str | int, ...]
    problem: str
    fix: str
