"""Puts a container's output together from what Docker hands over, so that whole lines are looked at for secrets.

Docker keeps a long line in pieces of 16 KiB, stamps each with its time, and counts pieces where a number of lines is
asked for. Around every piece of the two streams it puts a frame, except where the container has a terminal.
"""

from __future__ import annotations

import re
from calendar import timegm
from collections.abc import Iterator, Sequence
from time import strptime

from ikoma.ports.runtime import LogLine
from ikoma.readable import make_readable

FRAME = 8
"""Bytes before each piece: the stream, three zeros, and the size."""

_STREAMS = (0, 1, 2)
_PIECE = 16 << 10
_STAMP = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z ")
LONGEST = 64 << 10
"""Part of a line that is looked at. Nothing after it is ever shown: it could begin in the middle of a secret."""
_MARGIN = 16 << 10
"""Part left out at the end of a line that is longer: a secret could go on there."""


def is_framed(output: bytes) -> bool:
    """Whether an output begins with a frame. That of a terminal begins with a stamp."""
    return len(output) >= FRAME and output[0] in _STREAMS and output[1:4] == b"\0\0\0"


class LineAssembler:
    """Takes pieces as they come, and gives each line, with the number of its stream, when it is whole."""

    def __init__(self) -> None:
        self.pieces = 0
        self._begun: dict[int, tuple[bytes, bytearray]] = {}

    def take(self, stream: int, piece: bytes) -> Iterator[tuple[int, LogLine]]:
        """A framed piece: a stamp, and a line or a part of one."""
        stamp, _, content = piece.partition(b" ")
        yield from self._add(stream, stamp, content)

    def take_raw(self, line: bytes) -> Iterator[tuple[int, LogLine]]:
        """A line of a terminal, with its end, and inside it the stamps of its pieces."""
        stamp, _, content = line.partition(b" ")
        while len(content) > _PIECE and (found := _STAMP.match(content, _PIECE)):
            yield from self._add(0, stamp, content[:_PIECE])
            stamp, content = found[0].rstrip(), content[found.end() :]
        yield from self._add(0, stamp, content)

    def take_rest(self) -> Iterator[tuple[int, LogLine]]:
        """Lines that have no end yet."""
        for stream, (stamp, said) in self._begun.items():
            yield stream, _parse_line(stamp, said)
        self._begun.clear()

    def _add(self, stream: int, stamp: bytes, content: bytes) -> Iterator[tuple[int, LogLine]]:
        self.pieces += 1
        stamp, said = self._begun.setdefault(stream, (stamp, bytearray()))
        said += content[: max(0, LONGEST - len(said))]
        if content.endswith(b"\n"):
            del self._begun[stream]
            yield stream, _parse_line(stamp, said)


def select_last(output: bytes, asked: int) -> tuple[list[LogLine], bool]:
    """The lines of an output, and whether these are all that there are.

    Where there may be more, the first line of each stream is left out: it may have begun before.

    Args:
        asked: how many pieces Docker was asked for.
    """
    lines, found = LineAssembler(), list[tuple[int, LogLine]]()
    for stream, piece in _split_pieces(output):
        found += lines.take_raw(piece) if stream is None else lines.take(stream, piece)
    found += lines.take_rest()
    whole = lines.pieces < asked
    begun = set[int]() if not whole else {0, 1, 2}
    kept = []
    for stream, line in found:
        if stream in begun and line.text:
            kept.append(line)
        begun.add(stream)
    return kept, whole


def format_after(line: LogLine) -> str:
    """The moment after a line's, as Docker takes it; all pieces of one line have the same."""
    whole, nanoseconds = line.at.removesuffix("Z").split(".")
    seconds, nanoseconds_on = divmod(int(nanoseconds) + 1, 10**9)
    return f"{timegm(strptime(whole, '%Y-%m-%dT%H:%M:%S')) + seconds}.{nanoseconds_on:09}"


def _split_pieces(output: bytes) -> Sequence[tuple[int | None, bytes]]:
    """Stream and content of each piece; of a terminal, None and each line."""
    pieces: list[tuple[int | None, bytes]] = []
    place = 0
    while place < len(output):
        head = output[place : place + FRAME]
        size = int.from_bytes(head[4:])
        place += FRAME + size
        if not is_framed(head) or place > len(output):
            return [(None, line + b"\n") for line in output.removesuffix(b"\n").split(b"\n")]
        pieces.append((head[0], output[place - size : place]))
    return pieces


def _parse_line(stamp: bytes, said: bytearray) -> LogLine:
    shown = said if len(said) < LONGEST else said[: LONGEST - _MARGIN]
    return LogLine(stamp.decode(errors="replace"), make_readable(shown.rstrip(b"\r\n").decode(errors="replace")))
