"""One thing in a compose file that a rule of the policy forbids, and its place."""

from __future__ import annotations

from dataclasses import dataclass

Place = tuple[str | int, ...]
"""Where something stands in a compose file: ("services", "web", "ports", 0)."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing in a compose file that a rule forbids. `file` is relative to the app's folder."""

    rule: str
    place: Place
    what: str
    file: str | None = None
    waivable: bool = True
    """Whether a waiver of the rule lets it pass, where the rule can be waived at all."""
    danger: str | None = None
    """Why it is refused, where the rule's own words do not fit."""
    instead: str | None = None
    """The safe way, likewise."""
    line: int | None = None
    """The line of the file, where its place does not tell it."""
    because: str | None = None
    """Cause of the refusal, such as a folder: what mends it there mends every violation of it."""

    @property
    def shown(self) -> str:
        return ".".join(map(str, self.place)) or "the file"


_LONGEST_QUOTE = 150


def quote(text: str) -> str:
    """The text as a problem may quote it: whole, so that a secret in it is found and hidden, or not at all."""
    return text if len(text) <= _LONGEST_QUOTE else f"a text of {len(text)} characters"
