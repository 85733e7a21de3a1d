"""The files of the audit log: the one that is written, those that were rotated away, and lines in them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson

_TAIL = 1 << 16
_HASH_LENGTH = sha256().digest_size * 2
_DEEPEST = 8
"""More levels than any entry of ours has: what is nested deeper is none."""
_MOST_ENTRIES = 1 << 53


def hash_line(line: bytes) -> str:
    """The hash of a line as the next one quotes it; the line's end does not count."""
    return sha256(line).hexdigest()


def make_rotated_name(path: Path, first_seq: int) -> Path:
    """Name the place of a full file, by the entry that it begins with."""
    return path.with_name(f"{path.stem}-{first_seq:012d}{path.suffix}")


def read_named_seq(name: str) -> int | None:
    """The entry that a rotated file's name says it begins with; None where it says none."""
    found = re.search(r"-(\d{12})\.\w+$", name)
    return int(found[1]) if found else None


def list_rotated(path: Path) -> list[Path]:
    """The files that were rotated away, by IKOMA or by logrotate, the oldest first."""
    pattern = re.compile(rf"{re.escape(path.stem)}(-\d{{12}})?{re.escape(path.suffix)}(\.\d+)?")
    found = [item for item in _list_siblings(path) if pattern.fullmatch(item.name) and item != path]
    return sorted(found, key=lambda item: (find_first_seq(item), item.name))


def find_first_seq(path: Path) -> int:
    """The number of the first entry that has one; 0 where none has."""
    return find_first_link([path])[0]


def find_first_link(files: Iterable[Path]) -> tuple[int, str]:
    """The number of the first entry that has one, and the hash that it quotes; (0, "") where none has."""
    for path in files:
        with suppress(OSError), path.open("rb") as stream:
            for line in stream:
                entry = parse_entry(line) or {}
                seq, prev = read_seq(entry), entry.get("prev")
                if seq is not None:
                    return seq, prev if isinstance(prev, str) and len(prev) == _HASH_LENGTH else ""
    return 0, ""


def parse_entry(line: bytes) -> dict[str, Any] | None:
    """The entry of a line; None where it is none. Whoever may write the log may put anything there."""
    try:
        entry = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    shallow = line.count(b"{") + line.count(b"[") <= _DEEPEST or _is_shallow(entry, _DEEPEST)
    return entry if isinstance(entry, dict) and shallow else None


def read_seq(entry: Mapping[str, Any]) -> int | None:
    """The number of an entry; None where it has none that can be one."""
    seq = entry.get("seq")
    return seq if type(seq) is int and 0 <= seq < _MOST_ENTRIES else None


def read_last_line(descriptor: int, size: int) -> tuple[bytes, int]:
    """The last whole line of an open file, without its end, and where the file's whole lines end."""
    window = _TAIL
    while True:
        start = max(0, size - window)
        piece = os.pread(descriptor, size - start, start)
        end = piece.rfind(b"\n")
        begin = piece.rfind(b"\n", 0, end) if end > 0 else -1
        if end < 0 and start == 0:
            return b"", 0
        if end >= 0 and (begin >= 0 or start == 0):
            return piece[begin + 1 : end], start + end + 1
        window *= 4


def _is_shallow(value: Any, deepest: int) -> bool:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return parts is None or (deepest > 0 and all(_is_shallow(part, deepest - 1) for part in parts))


def _list_siblings(path: Path) -> list[Path]:
    try:
        return list(path.parent.iterdir())
    except OSError:
        return []
