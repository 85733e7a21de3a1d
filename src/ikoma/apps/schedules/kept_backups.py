"""Backups of a schedule that are kept: the last of each of so many days, weeks and months."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol

from ikoma.apps.schedules.schedule import Schedule

_PERIODS: Mapping[str, Callable[[datetime], tuple[int, ...]]] = {
    "keep_days": lambda at: (at.year, at.month, at.day),
    "keep_weeks": lambda at: tuple(at.isocalendar())[:2],
    "keep_months": lambda at: (at.year, at.month),
}


class KeptBackup(Protocol):
    """A backup as far as it matters to whether it is kept: here, or off this machine."""

    @property
    def name(self) -> str: ...

    @property
    def created_at(self) -> str: ...

    @property
    def proven_at(self) -> str | None: ...


def choose_superfluous(made: Sequence[KeptBackup], all_of_app: Sequence[KeptBackup], rule: Schedule) -> set[str]:
    """Choose the backups to let go of, by name.

    Args:
        made: those that schedules made. Others are nobody's to let go of.
        all_of_app: with those that people made.
    """
    newest = sorted((item for item in made if item.proven_at), key=lambda item: item.created_at, reverse=True)
    kept: set[str] = set()
    for setting, period in _PERIODS.items():
        seen: dict[tuple[int, ...], str] = {}
        for item in newest:
            seen.setdefault(period(datetime.fromisoformat(item.created_at).astimezone(UTC)), item.name)
        kept |= set(list(seen.values())[: getattr(rule, setting)])
    last_proven = max((item for item in all_of_app if item.proven_at), key=lambda item: item.created_at, default=None)
    if last_proven is not None:
        kept.add(last_proven.name)
    return {item.name for item in made} - kept
