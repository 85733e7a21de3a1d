"""Reads a plain dump while it is written, counts its rows, and says what to write over so that no app's code is admin.

What pg_dump wrote goes, as text between dollar quotes, to a procedure that runs it as the app's role; rows go to where
a function says. There is room for that in pg_dump's own comments, so every piece keeps its length and the file need
not be written again. Quotes and comments are read as PostgreSQL reads them: what stands inside a function's body or in
a text can look like anything, and is never taken for a line of pg_dump's.

Counting in the stream asks nothing of the server: no second scan of every table. pg_dump wraps large objects in a
transaction of their own; its COMMIT would end ours in the middle of a restore.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection

_IDENTIFIER = rb'(?:"(?:[^"]|"")+"|[a-z0-9_$\x80-\xff]+)'
_COPY = re.compile(rb"COPY ((%b)\.(%b) (?:\(%b(?:, %b)*\) | )) *FROM stdin;" % ((_IDENTIFIER,) * 4))
_EXTENSION = re.compile(rb"(?:CREATE EXTENSION IF NOT EXISTS|COMMENT ON EXTENSION) (%b)[ ;]" % _IDENTIFIER)
_KIND = re.compile(rb"-- (?:Data for )?Name: .*; Type: ([A-Z ]+); Schema: .*; Owner: .*\n")
_FUNCTIONS = frozenset((b"FUNCTION", b"PROCEDURE", b"EXTENSION"))
_BESIDE_FUNCTIONS = _FUNCTIONS | {
    b"AGGREGATE",
    b"COMMENT",
    b"ACL",
    b"OPERATOR",
    b"CAST",
    b"TYPE",
    b"SHELL TYPE",
    b"SCHEMA",
}
"""Objects that run none of them when they are made."""
_OWNER = re.compile(rb"-- .*; Owner: (.*?)(?:; Tablespace: .*)?\n")
_TOKEN = re.compile(
    rb"(?P<dollar>(?<![\w$\x80-\xff])\$(?:[A-Za-z_\x80-\xff][\w\x80-\xff]*)?\$)|(?P<escaped>(?<![\w$\x80-\xff])[eE]')"
    rb"|(?P<text>')|(?P<name>\")|(?P<comment>--)|(?P<open>/\*)"
)
_ENDS = {b"'": re.compile(rb"''|(')"), b'"': re.compile(rb'""|(")'), b"e": re.compile(rb"\\[\s\S]|''|(')")}
_EDGES = re.compile(rb"/\*|\*/")
_ROWS_END, _LARGE_OBJECTS_END = b"\n\\.\n", b"\nCOMMIT;\n"
_HIDDEN = "ikoma"


class UnexpectedDump(Exception):
    """pg_dump wrote something that has no place for what belongs there."""


class PlainDump:
    """Feed it the dump in pieces of any size; what it returns is what the file should hold, as long as what it got.

    Args:
        role: whose objects they are; what another owns is left to whoever restores.
        theirs: extensions that only a superuser can create.
    """

    def __init__(self, role: str, theirs: Collection[str] = ()) -> None:
        self._role = role.encode()
        self._theirs = frozenset(theirs)
        self.mark = f"${secrets.token_hex(5)}$".translate(_LETTERS).encode()
        """Stands around what the app's role runs. Nobody could know it before."""
        self.is_quoted = True
        """Whether the text so far ends inside such marks. It begins so: whoever writes the head opens them."""
        self._rest = b""
        self._pending: list[bytes] = []  # blank lines and comments, whose room may be needed
        self._inside = b""  # which quote, comment or body the text so far ends in
        self._depth = 0
        self._rows: dict[tuple[str, str], int] = {}
        self._table: tuple[str, str] | None = None
        self._in_large_objects = False
        self._functions_came = False
        self._passed = 0
        self.patches: list[tuple[int, bytes]] = []
        """What to write over the file, and at which offset."""

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
        return out[0] if len(out) == 1 else b"".join(out)

    def end(self) -> bytes:
        """The bytes that were held back: they might have been the beginning of something."""
        rest = b"".join(self._pending) + self._rest
        self._pending, self._rest = [], b""
        return rest

    def map_tables(self) -> dict[str, int]:
        """Rows by table name, with the schema in front when it is not public; IKOMA's ledger is left out."""
        return {
            name if schema == "public" else f"{schema}.{name}": rows
            for (schema, name), rows in sorted(self._rows.items())
            if schema != _HIDDEN
        }

    # --- statements ---

    def _pass_statements(self, text: bytes, place: int, out: list[bytes]) -> int:
        """Up to and with the line where a section of rows or large objects begins, else to the last whole line."""
        while (end := text.find(b"\n", place) + 1) > 0:
            line = text[place:end]
            place = end
            if self._inside:
                self._read(line)
                self._emit(line, out)
            elif line == b"\n" or line.startswith(b"--"):
                self._pending.append(line)
            elif self._begins_section(line, out):
                break
        return place - 1 if self._table is not None else place

    def _begins_section(self, line: bytes, out: list[bytes]) -> bool:
        if line.startswith((b"\\restrict ", b"\\unrestrict ")):  # there are commands of psql between them, ours
            self._rewrite(line, b"", out)
            return False
        if found := _COPY.fullmatch(line[:-1]):
            self._table = (_name(found[2]), _name(found[3]))
            self._rows[self._table] = 0
            target = found[1].rstrip(b" ") if found[1].endswith(b") ") else found[1]
            wanted = b":to" + self.mark + target + self.mark + b")\\gset\nCOPY :target FROM stdin;"
            self._rewrite(line[:-1], wanted, out, quoted=False)
            return True
        if line.startswith(b"COPY "):  # of a table or column with a line end in its name
            raise UnexpectedDump(line.decode(errors="replace"))
        if line == b"BEGIN;\n":
            self._in_large_objects = True
            self._rewrite(line, b"", out, quoted=False)
            return True
        if self._pending and (quoted := self._is_the_apps(line)) != self.is_quoted:
            self._rewrite(b"", b"", out, quoted=quoted)
        elif self._runs_new_functions() and self.is_quoted:
            self._rewrite(b"", self.mark + b");\n:run" + self.mark, out)
        self._read(line)
        self._emit(b"".join(self._pending) + line, out)
        self._pending = []
        return False

    def _is_the_apps(self, line: bytes) -> bool:
        """Whether the entry that begins here is to be run as the app's role."""
        owners = [found[1] for comment in self._pending if (found := _OWNER.fullmatch(comment))]
        if not owners:
            return self.is_quoted
        if found := _EXTENSION.match(line):
            return _name(found[1]) not in self._theirs
        return owners[-1] in (self._role, b"-", b"")

    def _runs_new_functions(self) -> bool:
        """Whether the entry that begins here may run functions that came since the last piece was begun to be run.

        They must have been lent a search path by then, which each piece begins with.
        """
        kinds = [found[1] for comment in self._pending if (found := _KIND.fullmatch(comment))]
        if not kinds or kinds[-1] in _FUNCTIONS:
            self._functions_came |= bool(kinds)
            return False
        came = self._functions_came and kinds[-1] not in _BESIDE_FUNCTIONS
        self._functions_came &= not came
        return came

    def _rewrite(self, line: bytes, wanted: bytes, out: list[bytes], *, quoted: bool | None = None) -> None:
        """Write over the comments before this line, and over itself, ending or beginning what is quoted first."""
        change = b""
        if quoted is not None and quoted != self.is_quoted:
            change = b":run" + self.mark if quoted else self.mark + b");\n"
            self.is_quoted = quoted
        room = b"".join(self._pending) + line
        self._pending = []
        wanted = change + wanted
        if len(wanted) > len(room) - 1:
            raise UnexpectedDump(line.decode(errors="replace"))
        end = b"\n" if room.endswith(b"\n") else b""
        wanted = wanted.rjust(len(room) - len(end)) + end
        self.patches.append((self._passed, wanted))
        self._emit(wanted, out)

    def _emit(self, text: bytes, out: list[bytes]) -> None:
        out.append(text)
        self._passed += len(text)

    def _read(self, line: bytes) -> None:
        """Know in which quote or comment this line ends."""
        place = 0
        while True:
            if not self._inside:
                found = _TOKEN.search(line, place)
                if found is None or found["comment"]:
                    return
                place = found.end()
                self._inside, self._depth = b"e" if found["escaped"] else found[0], 1
                continue
            place = self._leave(line, place)
            if self._inside:
                return

    def _leave(self, line: bytes, place: int) -> int:
        """Past the end of what we are inside of, where it is in this line."""
        if self._inside == b"/*":
            for edge in _EDGES.finditer(line, place):
                self._depth += 1 if edge[0] == b"/*" else -1
                if self._depth == 0:
                    self._inside = b""
                    return edge.end()
        elif pattern := _ENDS.get(self._inside):
            for found in pattern.finditer(line, place):
                if found[1]:
                    self._inside = b""
                    return found.end()
        elif (end := line.find(self._inside, place)) >= 0:
            place = end + len(self._inside)
            self._inside = b""
        return place

    # --- rows and large objects ---

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
            known = end + len(_ROWS_END)
        self._emit(text[place:known], out)
        return known

    def _pass_large_objects(self, text: bytes, place: int, out: list[bytes]) -> int:
        """Up to and with their COMMIT. Their content is in hexadecimal, so it cannot be taken for one."""
        end = text.find(_LARGE_OBJECTS_END, place)
        known = end + 1 if end >= 0 else max(place, len(text) - len(_LARGE_OBJECTS_END) + 1)
        self._emit(text[place:known], out)
        if end >= 0:
            self._in_large_objects = False
            self._rewrite(_LARGE_OBJECTS_END[1:], b"", out)
            known = end + len(_LARGE_OBJECTS_END)
        return known


_LETTERS = str.maketrans("0123456789", "ghijklmnop")


def _name(identifier: bytes) -> str:
    text = identifier.decode(errors="replace")
    return text[1:-1].replace('""', '"') if text.startswith('"') else text
