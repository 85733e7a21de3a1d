"""Entries of the audit log that could not be written: how many, when and of what kind, until the log can say so."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ikoma.moments import format_moment

_MOST_KINDS = 20
_OTHERS = "others"


@dataclass(slots=True)
class LostEntries:
    """Entries lost since the log last said so. They take the same room however many they are."""

    count: int = 0
    since: str = ""
    until: str = ""
    kinds: dict[str, int] = field(default_factory=dict)

    def add(self, kind: str) -> None:
        self.until = make_stamp()
        self.since = self.since or self.until
        self.count += 1
        if kind not in self.kinds and len(self.kinds) >= _MOST_KINDS:
            kind = _OTHERS
        self.kinds[kind] = self.kinds.get(kind, 0) + 1

    def describe(self) -> dict[str, Any]:
        """The arguments of the entry that tells of them."""
        return {"count": self.count, "since": self.since, "until": self.until, "kinds": dict(self.kinds)}


def make_stamp() -> str:
    """Now, as entries have it."""
    return format_moment(datetime.now(UTC), "milliseconds")
