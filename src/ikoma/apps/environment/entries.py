"""Entries of a `.env` file and their places: for editing one, and for saying where one is wrong.

What an entry means is never decided here: Compose reads values, and an edit counts once Compose has read it back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ikoma.apps.environment.nesting import is_too_deep

_GAP = re.compile(r"(?:\s+|#[^\n]*)*+")
_KEY = re.compile(r"(?:export[ \t\v\f\r]+)?(?P<name>[^=:\n]*)(?P<mark>[=:]?)[^\S\n]*")
_QUOTED = {quote: re.compile(rf"{quote}(?:[^{quote}\\]|\\[\s\S])*+{quote}") for quote in "'\""}
_REST = re.compile(r"[^\S\n]*(?:#[^\n]*)?(?:\n|\Z)")
_PROPER = re.compile(r"[\w.\-\[\]]+")


@dataclass(frozen=True, slots=True)
class DotenvEntry:
    """One entry. Offsets count characters of the text, lines from 1."""

    name: str
    line: int
    last_line: int
    begin: int
    """The place where the entry begins, `export` included."""
    value: tuple[int, int]
    """The place of its value, quotes included."""
    end: int
    """The place where the next one may begin: after its line, unless something else stands there."""
    written: str
    """The value as it is written, quotes included."""
    has_value: bool
    """Whether there is a `=` or a `:`."""
    closed: bool
    """Whether a quote that begins the value has its other one."""
    alone: bool
    """Whether nothing but blanks and a comment stands on its lines beside it."""

    @property
    def is_proper(self) -> bool:
        """Whether its name is one; what is not may be a part of a value."""
        return _PROPER.fullmatch(self.name) is not None

    @property
    def is_literal(self) -> bool:
        """Whether its value is in single quotes, where `$` means nothing."""
        return self.written.startswith("'")


def parse_entries(text: str) -> list[DotenvEntry]:
    """Parse the entries of a file, in its order."""
    return list(_iterate_entries(text))


def find_too_deep(text: str) -> DotenvEntry | None:
    """Find the first entry in which too many variables stand in each other."""
    return next((entry for entry in parse_entries(text) if not entry.is_literal and is_too_deep(entry.written)), None)


def _iterate_entries(text: str) -> Iterator[DotenvEntry]:
    place = _skip(_GAP, text, 1 if text.startswith("\ufeff") else 0)
    line, counted = 1, 0
    while place < len(text):
        key = _KEY.match(text, place)
        assert key is not None
        quote = text[key.end() : key.end() + 1] if key["mark"] else ""
        stop = _find_quoted_end(text, key.end(), quote) if quote in _QUOTED else _find_bare_end(text, key.end())
        line, counted = line + text.count("\n", counted, place), place
        closed, stop = stop is not None, len(text) if stop is None else stop
        last = line + text.count("\n", place, stop)
        rest = _REST.match(text, stop)
        begin = text.rfind("\n", 0, place) + 1
        yield DotenvEntry(
            name=key["name"].strip(),
            line=line,
            last_line=last,
            begin=place,
            value=(key.end(), stop),
            end=stop if rest is None else rest.end(),
            written=text[key.end() : stop],
            has_value=bool(key["mark"]),
            closed=closed,
            alone=rest is not None and not text[begin:place].strip(" \t\v\f\r\ufeff"),
        )
        place = _skip(_GAP, text, stop if rest is None else rest.end())


def _find_quoted_end(text: str, begin: int, quote: str) -> int | None:
    found = _QUOTED[quote].match(text, begin)
    return None if found is None else found.end()


def _find_bare_end(text: str, begin: int) -> int:
    stop = text.find("\n", begin)
    line = text[begin : len(text) if stop < 0 else stop]
    return begin + len(line.partition(" #")[0].rstrip())


def _skip(pattern: re.Pattern[str], text: str, place: int) -> int:
    found = pattern.match(text, place)
    return place if found is None else found.end()
