"""Names of files of the write-ahead log (WAL): pure text and numbers.

A segment's name is its timeline and its place in the log, each in hexadecimal. Whoever goes from one base backup to a
moment needs every segment between them, so a missing one is found by its number before PostgreSQL is asked.
"""

from __future__ import annotations

import re
from collections.abc import Collection

SEGMENT = re.compile(r"[0-9A-F]{24}")
UNFINISHED = ".partial"
_BYTES_OF_A_LOG = 1 << 32


def name_segment(timeline: int, number: int, size: int) -> str:
    """The name of the segment of that number; `size` is that of each segment in bytes."""
    each = _BYTES_OF_A_LOG // size
    return f"{timeline:08X}{number // each:08X}{number % each:08X}"


def read_number(name: str, size: int) -> int:
    """The number of a segment, counted from the beginning of the log."""
    return int(name[8:16], 16) * (_BYTES_OF_A_LOG // size) + int(name[16:24], 16)


def read_timeline(name: str) -> int:
    return int(name[:8], 16)


def locate(position: str, size: int) -> int:
    """The number of the segment that holds a position such as "0/16B3748"."""
    high, _, low = position.partition("/")
    return ((int(high, 16) << 32) + int(low, 16)) // size


def list_names(timeline: int, first: int, last: int, size: int) -> list[str]:
    """Names of all segments from one number to another, both included."""
    return [name_segment(timeline, number, size) for number in range(first, last + 1)]


def find_hole(wanted: Collection[str], there: Collection[str]) -> str | None:
    """The first of these segments that is not there."""
    return next((name for name in wanted if name not in there), None)
