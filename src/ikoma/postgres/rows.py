"""Counts the rows of each table in a plain dump while it streams by.

Counting in the stream asks nothing of the server: no second scan of every table, and no query on an app's tables
with the admin's rights, which could run code that the app has put into an index.
"""

from __future__ import annotations

import re

_IDENTIFIER = rb'(?:"(?:[^"]|"")+"|[a-z0-9_$\x80-\xff]+)'
_COPY = re.compile(
    rb"\nCOPY (%b)\.(%b) (?:\(%b(?:, %b)*\) | )FROM stdin;(?=\n)" % (_IDENTIFIER, _IDENTIFIER, _IDENTIFIER, _IDENTIFIER)
)
_START, _END = b"\nCOPY ", b"\n\\.\n"
_LONGEST_START = 256 << 10
_HIDDEN = "ikoma"


class RowCounter:
    """Feed it the dump in pieces of any size."""

    def __init__(self) -> None:
        self._rest = b"\n"
        self._rows: dict[tuple[str, str], int] = {}
        self._table: tuple[str, str] | None = None

    def feed(self, piece: bytes) -> None:
        text = self._rest + piece
        place = 0
        while place < len(text):
            start = place
            place = self._rows_end(text, start) if self._table else self._table_start(text, start)
            if place == start:
                break
        self._rest = text[place:]

    def tables(self) -> dict[str, int]:
        """Rows by table name, with the schema in front when it is not public; IKOMA's ledger is left out."""
        return {
            name if schema == "public" else f"{schema}.{name}": rows
            for (schema, name), rows in sorted(self._rows.items())
            if schema != _HIDDEN
        }

    def _table_start(self, text: bytes, place: int) -> int:
        """Look for the next table; up to where the text need not be seen again."""
        if found := _COPY.search(text, place):
            self._table = (_name(found[1]), _name(found[2]))
            self._rows[self._table] = 0
            return found.end()
        begun = text.rfind(_START, max(place, len(text) - _LONGEST_START))
        return begun if begun >= 0 else max(place, len(text) - len(_START) + 1)

    def _rows_end(self, text: bytes, place: int) -> int:
        """Count rows up to the end of the table or of the text. `place` is at the line feed before a row."""
        assert self._table is not None
        end = text.find(_END, place)
        if end >= 0:
            # The line feed before the first row counts for it; the one that begins the end marker counts for none.
            self._rows[self._table] += text.count(b"\n", place, end)
            self._table = None
            return end + len(_END) - 1
        known = max(place, len(text) - len(_END) + 1)
        self._rows[self._table] += text.count(b"\n", place, known)
        return known


def _name(identifier: bytes) -> str:
    text = identifier.decode(errors="replace")
    return text[1:-1].replace('""', '"') if text.startswith('"') else text
