"""The text of a plain dump, whatever its file is stored as: told by its first bytes, not by its name.

A backup that is proven has no name yet, and one that came from elsewhere may have any.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from io import BufferedReader
from typing import BinaryIO

from ikoma.postgres.backup.text.packing import MAGIC, unpack

_LONGEST_LINE = 1024


class DumpText:
    """The text of a dump that is stored as it is.

    Args:
        name: as errors call it.
    """

    def __init__(self, file: BufferedReader, name: str) -> None:
        self.file = file
        self.name = name

    def read_edges(self, length: int) -> tuple[bytes, bytes]:
        """The first line, and so many of the last bytes; BackupDamaged where a packed one cannot be read to its end."""
        self.file.seek(0)
        head = self.file.readline(_LONGEST_LINE)
        size = self.file.seek(0, os.SEEK_END)
        self.file.seek(-min(size, length), os.SEEK_END)
        return head, self.file.read()

    def hash(self) -> str:
        """Compute the SHA-256 of the file."""
        self.file.seek(0)
        return hashlib.file_digest(self.file, "sha256").hexdigest()

    def write_to(self, target: BinaryIO) -> None:
        """Write the whole text to a file."""
        for piece in self._read():
            target.write(piece)

    @asynccontextmanager
    async def feed(self) -> AsyncIterator[int]:
        """A descriptor for the block, from which a program reads the text. The file's own offset tells how far it is.

        Raises:
            BackupDamaged: after the block; a packed file has changed since it was looked at.
        """
        os.lseek(self.file.fileno(), 0, os.SEEK_SET)
        yield self.file.fileno()

    def _read(self) -> Iterator[bytes]:
        self.file.seek(0)
        while piece := self.file.read(1 << 20):
            yield piece


class PackedText(DumpText):
    """The text of a dump that is packed by zstd."""

    def read_edges(self, length: int) -> tuple[bytes, bytes]:
        head = tail = b""
        for piece in self._read():
            head = head or piece.partition(b"\n")[0][:_LONGEST_LINE] + b"\n"
            tail = (tail + piece)[-length:]
        return head, tail

    @asynccontextmanager
    async def feed(self) -> AsyncIterator[int]:
        source, target = os.pipe2(os.O_CLOEXEC)
        pouring = asyncio.ensure_future(asyncio.to_thread(self._pour, target))
        try:
            yield source
        finally:
            os.close(source)  # a program that has ended early reads no more
            await asyncio.wait([pouring])
        pouring.result()

    def _pour(self, target: int) -> None:
        try:
            with os.fdopen(target, "wb") as stream:
                self.write_to(stream)
        except BrokenPipeError:
            pass  # the program has said why

    def _read(self) -> Iterator[bytes]:
        self.file.seek(0)
        return unpack(self.file, self.name)


def find_text(file: BufferedReader, name: str) -> DumpText:
    """The text of the dump in an open file."""
    file.seek(0)
    return (PackedText if file.read(len(MAGIC)) == MAGIC else DumpText)(file, name)
