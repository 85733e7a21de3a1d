"""Reads a plain dump while it is written: counts the rows of each table, and blanks the COMMIT that pg_dump puts in.

Counting in the stream asks nothing of the server: no second scan of every table, and no query on an app's tables
with the admin's rights, which could run code that the app has put into an index. pg_dump wraps large objects in a
transaction of their own; its COMMIT would end ours in the middle of a restore.
"""

from __future__ import annotations

import re

_IDENTIFIER = rb'(?:"(?:[^"]|"")+"|[a-z0-9_$\x80-\xff]+)'
_COPY = rb"\nCOPY (%b)\.(%b) (?:\(%b(?:, %b)*\) | )FROM stdin;(?=\n)" % ((_IDENTIFIER,) * 4)
_LARGE_OBJECTS = rb"\n-- Data for Name: [^\n]*; Type: BLOBS; Schema: -; Owner: [^\n]*\n--\n\n(?P<begin>BEGIN;)(?=\n)"
_SECTION = re.compile(rb"%b|%b" % (_COPY, _LARGE_OBJECTS))
_STARTS = (b"\nCOPY ", b"\n-- Data for Name: ")
_ROWS_END, _LARGE_OBJECTS_END = b"\n\\.\n", b"\nCOMMIT;\n"
_LONGEST_START = 256 << 10
_HIDDEN = "ikoma"


class PlainDump:
    """Feed it the dump in pieces of any size; what it returns is what the file should hold, as long as what it got."""

    def __init__(self) -> None:
        self._rest = b""
        self._rows: dict[tuple[str, str], int] = {}
        self._table: tuple[str, str] | None = None
        self._in_large_objects = False
        self._passed = 0
        self.blanked: list[tuple[int, int]] = []
        """Offset and length of what should be spaces."""

    def feed(self, piece: bytes) -> bytes:
        text = self._rest + piece if self._rest else piece
        out: list[bytes] = []
        place = 0
        while True:
            start = place
            if self._table is not None:
                place = self._pass_rows(text, place, out)
            elif self._in_large_objects:
                place = self._pass_large_objects(text, place, out)
            else:
                place = self._pass_statements(text, place, out)
            if place in (start, len(text)):
                break
        self._rest = text[place:]
        self._passed += place
        return out[0] if len(out) == 1 else b"".join(out)

    def end(self) -> bytes:
        """What was held back: it might have been the beginning of something."""
        rest, self._rest = self._rest, b""
        return rest

    def tables(self) -> dict[str, int]:
        """Rows by table name, with the schema in front when it is not public; IKOMA's ledger is left out."""
        return {
            name if schema == "public" else f"{schema}.{name}": rows
            for (schema, name), rows in sorted(self._rows.items())
            if schema != _HIDDEN
        }

    def _pass_statements(self, text: bytes, place: int, out: list[bytes]) -> int:
        """Up to the next section of rows or large objects, or to where one may be beginning."""
        if found := _SECTION.search(text, place):
            end = found.end()
            if found["begin"]:
                self._in_large_objects = True
                out.append(text[place : found.start("begin")])
                out.append(self._blank(found.start("begin"), end))
            else:
                self._table = (_name(found[1]), _name(found[2]))
                self._rows[self._table] = 0
                out.append(text[place:end])
            return end
        held = max(place, len(text) - max(map(len, _STARTS)) + 1)
        for start in _STARTS:
            begun = text.rfind(start, max(place, len(text) - _LONGEST_START))
            held = min(held, begun) if begun >= 0 else held
        out.append(text[place:held])
        return held

    def _pass_rows(self, text: bytes, place: int, out: list[bytes]) -> int:
        """Count rows up to the end of the table or of the text. `place` is at the line feed before a row."""
        assert self._table is not None
        backslash = text.find(b"\\", place)  # much quicker to look for, and most pieces hold none
        end = text.find(_ROWS_END, max(place, backslash - 1)) if backslash >= 0 else -1
        if backslash < 0 and not text.endswith(b"\n"):
            known = len(text)  # rows and nothing else: no end marker has begun
        else:
            known = end if end >= 0 else max(place, len(text) - len(_ROWS_END) + 1)
        # The line feed before the first row counts for it; the one that begins the end marker counts for none.
        self._rows[self._table] += text.count(b"\n", place, known)
        if end >= 0:
            self._table = None
            known = end + len(_ROWS_END) - 1
        out.append(text[place:known])
        return known

    def _pass_large_objects(self, text: bytes, place: int, out: list[bytes]) -> int:
        """Up to and with their COMMIT. Their content is in hexadecimal, so it cannot be taken for one."""
        end = text.find(_LARGE_OBJECTS_END, place)
        known = end if end >= 0 else max(place, len(text) - len(_LARGE_OBJECTS_END) + 1)
        out.append(text[place:known])
        if end >= 0:
            self._in_large_objects = False
            known = end + len(_LARGE_OBJECTS_END) - 1
            out.append(text[end : end + 1] + self._blank(end + 1, known))
        return known

    def _blank(self, start: int, end: int) -> bytes:
        self.blanked.append((self._passed + start, end - start))
        return b" " * (end - start)


def _name(identifier: bytes) -> str:
    text = identifier.decode(errors="replace")
    return text[1:-1].replace('""', '"') if text.startswith('"') else text
