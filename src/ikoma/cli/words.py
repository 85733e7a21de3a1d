"""Values in words: how long ago and how big for people, as they are for programs; and the words of names.

A view wraps what is more than text: `Time("2026-…")`, `Size(2048)`, `Span(950)`, `State("healthy")`. It never words one
itself: a pipe gets ISO times, bytes and milliseconds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

_UNITS = (("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40))
_AGES = ((60, 1, "s"), (3600, 60, "min"), (86_400, 3600, "h"), (30 * 86_400, 86_400, "day"))
_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z0-9]+|[A-Z]+")
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {9: " ", 10: "\\n", 13: "\\r"}
_IN_LINES = {code: shown for code, shown in _CONTROL.items() if code != 10}
_COLOURS = {
    "green": ("healthy", "running", "succeeded", "serving", "done", "yes", "passed", "success", "compatible"),
    "yellow": (
        "starting",
        "started",
        "waiting",
        "created",
        "paused",
        "restarting",
        "maintenance",
        "warning",
        "pending",
    ),
    "red": ("unhealthy", "failed", "error", "dead", "no", "interrupted", "denied", "breaking", "refused"),
}
_COLOUR_OF = {word: colour for colour, words in _COLOURS.items() for word in words}
_LABELS = {
    "sha256": "SHA-256",
    "sql": "SQL",
    "id": "ID",
    "api": "API",
    "urls": "addresses",
    "url": "address",
    "appName": "app",
    "dbExists": "database",
    "appsRoot": "apps' folder",
    "backupPath": "backup",
    "releaseId": "release",
    "operationId": "operation",
}


@dataclass(frozen=True, slots=True)
class Time:
    """A moment, as ISO 8601 has it."""

    at: str | None


@dataclass(frozen=True, slots=True)
class Size:
    """So many bytes."""

    size: float | None


@dataclass(frozen=True, slots=True)
class Span:
    """So many milliseconds."""

    milliseconds: float | None


@dataclass(frozen=True, slots=True)
class State:
    """A word that says how something is, and has a colour; what stands after a space is said of it."""

    word: str | None


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words and values that are read as one: a size among them is in words for people only."""

    parts: tuple[Any, ...]
    between: str = " "


@dataclass(frozen=True, slots=True)
class YesNo:
    """Whether it is well: yes or no, in colours."""

    well: bool | None


def write_value(value: Any, *, people: bool) -> str:
    """A value as one line of text; nothing is "".

    Args:
        people: whether a person reads it, and not a program.
    """
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case Time(at):
            return "" if not at else (word_age(at) if people else at)
        case Size(size):
            return "" if size is None else (word_size(size) if people else f"{size:g}" if size % 1 else f"{size:.0f}")
        case Span(milliseconds):
            return "" if milliseconds is None else (word_span(milliseconds) if people else f"{milliseconds:.0f}")
        case State(word):
            return clean(word or "")
        case YesNo(well):
            return write_value(well, people=people)
        case Phrase(parts, between):
            return between.join(write_value(part, people=people) for part in parts)
        case list() | tuple():
            return ", ".join(write_value(item, people=people) for item in value)
        case dict():
            return clean(json.dumps(value, ensure_ascii=False))
        case float():
            return f"{value:.12g}"
        case _:
            return clean(str(value))


def choose_colour(value: Any) -> str | None:
    """The colour of a value that means something; None where it means nothing."""
    match value:
        case State(word):
            return _COLOUR_OF.get((word or "").split(" ")[0])
        case YesNo(well):
            return {True: "green", False: "red"}.get(well) if well is not None else None
        case _:
            return None


def word_label(name: str) -> str:
    """A field's name as words: `finishedAt` is "finished", `downtimeMs` is "downtime"."""
    if name in _LABELS:
        return _LABELS[name]
    words = [word if word.isupper() and len(word) > 1 else word.lower() for word in _WORD.findall(name)]
    if len(words) > 1 and words[-1] in ("at", "ms", "bytes"):
        words.pop()
    return " ".join(words) or name


def word_age(at: str, now: datetime | None = None) -> str:
    """The time since a moment, or until then; beyond a month its day."""
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        return clean(at)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    if abs(seconds) < 5:
        return "now"
    for below, unit, word in _AGES:
        if abs(seconds) < below:
            count = int(abs(seconds) // unit)
            said = f"{count} {word}{'s' if word == 'day' and count != 1 else ''}"
            return f"{said} ago" if seconds > 0 else f"in {said}"
    return f"{moment:%Y-%m-%d}"


def word_size(size: float) -> str:
    """A size as 1.2 MiB."""
    for name, unit in reversed(_UNITS):
        if size >= unit:
            value = size / unit
            return f"{value:.0f} {name}" if value >= 100 else f"{value:.1f}".removesuffix(".0") + f" {name}"
    return f"{size:.0f} B"


def word_span(milliseconds: float) -> str:
    """A time as 950 ms, 3.2 s, 4 min 10 s, 2 h 5 min."""
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{hours // 24} days"


def clean(text: str) -> str:
    """One line without control characters: what an app or a row says must not steer the terminal."""
    return text.translate(_CONTROL)


def clean_lines(text: str) -> str:
    """Lines without other control characters."""
    return text.translate(_IN_LINES)


def word_count(count: int, word: str) -> str:
    """1 table, 2 tables."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def guess(name: str, value: Any) -> Any:
    """A field of a result that no view knows, by its name: a moment, a size, a span, a state."""
    if isinstance(value, str) and (name.endswith(("At", "Until")) or name in ("at", "modified", "expires", "until")):
        return Time(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if name in ("size", "bytes") or name.endswith("Bytes"):
            return Size(value)
        if name.endswith("Ms"):
            return Span(value)
        if name.endswith("Seconds"):
            return Span(value * 1000)
    if isinstance(value, str) and name in ("state", "health", "status"):
        return State(value)
    return value


def flatten(values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Facts of nested objects, one after the other."""
    found: list[tuple[str, Any]] = []
    for name, value in values.items():
        if isinstance(value, dict) and value:
            found += flatten(value)
        else:
            found.append((name, value))
    return found
