"""A figure: what was measured, beside what, and whether the target is met."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Bound(Enum):
    AT_LEAST = "≥"
    AT_MOST = "≤"


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. `ours` and `beside` are for people; `value` is what `target` bounds."""

    what: str
    ours: str
    beside: str
    value: float
    unit: str
    bound: Bound
    target: float

    @property
    def reached(self) -> bool:
        return self.value >= self.target if self.bound is Bound.AT_LEAST else self.value <= self.target

    @property
    def shown(self) -> str:
        return _with_unit(self.value, self.unit)

    @property
    def shown_target(self) -> str:
        return f"{self.bound.value} {_with_unit(self.target, self.unit)}"

    @property
    def mark(self) -> str:
        return "✓" if self.reached else "✗"


def at_least(what: str, value: float, target: float, unit: str, *, ours: str, beside: str = "") -> Figure:
    return Figure(what, ours, beside, value, unit, Bound.AT_LEAST, target)


def at_most(what: str, value: float, target: float, unit: str, *, ours: str, beside: str = "") -> Figure:
    return Figure(what, ours, beside, value, unit, Bound.AT_MOST, target)


def seconds(values: Sequence[float]) -> str:
    """A median with its spread, such as "1.62 s (1.58-1.71)"."""
    return f"{statistics.median(values):.2f} s ({min(values):.2f}–{max(values):.2f})"


def rate(values: Sequence[float]) -> str:
    return f"{_number(statistics.median(values))}/s"


def _with_unit(value: float, unit: str) -> str:
    return f"{_number(value)}{unit}"


def _number(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
