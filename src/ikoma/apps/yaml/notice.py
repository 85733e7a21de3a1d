"""Notices of what works otherwise here than a compose file says: nothing has to change for the app to run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Notice:
    """One such thing, and what would say it as it is."""

    file: str | None
    """The file that it is of; None for where the place stands in what all files make."""
    place: tuple[str | int, ...]
    problem: str
    fix: str
