"""Makes of a dump that this server did not write the plain text that pg_dump writes, which an app's own role can run.

A backup of IKOMA's has its own frame around that text, which works with an admin's rights: the frame is left out, and
what it had pg_dump's text moved into is moved back. psql's own commands are left out where pg_dump has them, at the
beginning and at the end; any other is left where it is, for psql to refuse.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from ikoma.errors import BackupDamaged, BackupForeign
from ikoma.postgres.backup.restore import END, HEAD

ARCHIVE = b"PGDMP"
_PIECE = 1 << 20
_LONGEST_HEAD = 1 << 20
_DUMP = re.compile(rb"^-- PostgreSQL database dump\s*$", re.MULTILINE)
_COMPLETE = re.compile(rb"^-- PostgreSQL database dump complete\s*$", re.MULTILINE)
_END_BYTES = 1024
_BEGIN = re.compile(rb":run(\$[a-z]+\$)\n")
_CLOSED = re.compile(rb"REVOKE ALL ON FUNCTION pg_catalog\.pg_logical_emit_message\([^)]*\) FROM PUBLIC;\n")
"""IKOMA has taken it from the apps of every database, and the app's role need not and may not."""
_COPY_PLACED = b"COPY :target FROM stdin;\n"


def write_plain(source: BinaryIO, target: BinaryIO, *, name: str, role: str) -> None:
    """Write the dump's plain text.

    Args:
        source: the dump, at its beginning.
        name: as errors call it.
        role: whose database it is to be. A backup of IKOMA's names its own app's role as the owner of what is in it.

    Raises:
        BackupForeign: it is no dump of PostgreSQL, or a backup of an app of another name.
        BackupDamaged: it was cut off.
    """
    head = source.read(_PIECE)
    source.seek(0)
    if found := HEAD.match(head):
        of = found[1].decode(errors="replace")
        if of != role:
            raise BackupForeign(
                f"{name} is a backup of {of}, whose role owns what is in it.",
                hint=f"Restore it into an app with the name {of}.",
            )
        _require_end(source, name, END)
        lines = _unframe(_read_lines(source), name)
    elif _DUMP.search(head):
        _require_end(source, name, None)
        lines = _remove_commands(_read_lines(source))
    else:
        raise BackupForeign(
            f"{name} is no dump of PostgreSQL.",
            hint="pg_dump makes one: as plain SQL, or with --format=custom; not compressed by another program.",
        )
    for line in lines:
        target.write(b"\n" if _CLOSED.fullmatch(line) else line)


def _read_lines(source: BinaryIO) -> Iterator[bytes]:
    """Lines, and those that are very long in pieces."""
    while line := source.readline(_PIECE):
        yield line


def _require_end(source: BinaryIO, name: str, end: bytes | None) -> None:
    """psql would take what was cut off inside of rows for all of them."""
    size = source.seek(0, 2)
    source.seek(-min(size, _END_BYTES), 2)
    tail = source.read()
    source.seek(0)
    if not (_COMPLETE.search(tail) if end is None else tail.endswith(end)):
        raise BackupDamaged(f"{name} has no end: it was cut off.")


def _remove_commands(lines: Iterator[bytes]) -> Iterator[bytes]:
    end = None
    in_head = True
    for line in lines:
        if in_head and line.startswith(b"\\restrict "):
            end = b"\\unrestrict " + line.removeprefix(b"\\restrict ")
            yield b"\n"
            continue
        in_head = in_head and (line == b"\n" or line.startswith(b"--"))
        yield b"\n" if line == end else line


def _unframe(lines: Iterator[bytes], name: str) -> Iterator[bytes]:
    mark = _find_mark(lines, name)
    begins, ends, places = b":run" + mark, mark + b");\n", b":to" + mark
    target = b""
    ended = False
    for line in lines:
        if mark not in line:
            if ended and line == b"CLOSE ALL;\n":
                return
            yield b"COPY " + target + b" FROM stdin;\n" if target and line == _COPY_PLACED else line
            target, ended = b"", False
            continue
        said = line.lstrip(b" ")
        if said.startswith(places):
            target = said.removeprefix(places).partition(mark)[0]
        elif said.endswith(ends):
            ended = True
            said = said.removeprefix(begins).replace(mark, b"").removesuffix(b");\n")
            yield said + b"\n"
        else:
            yield said.replace(begins, b"")
    raise BackupDamaged(f"{name} has no end: it was cut off.")


def _find_mark(lines: Iterator[bytes], name: str) -> bytes:
    passed = 0
    for line in lines:
        if found := _BEGIN.fullmatch(line):
            return found[1]
        passed += len(line)
        if passed > _LONGEST_HEAD:
            break
    raise BackupDamaged(f"{name} is not as IKOMA writes a backup.")
