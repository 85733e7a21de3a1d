"""Files that a plain dump is written to, as it is or packed: pg_dump's text is read, hashed, counted and made safe.

As it is, pg_dump writes the file itself, and it is read again as it grows: not a byte passes through us. To be packed,
its text comes through a pipe.
"""

from __future__ import annotations

import hashlib
import os
import select
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fcntl import F_SETPIPE_SZ, fcntl
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from ikoma.ports.databases import Dump
from ikoma.ports.progress import Progress
from ikoma.postgres.backup.plain_dump import PlainDump
from ikoma.postgres.backup.text.packing import Packer

_EVERY = 32 << 20
_PIECE = 128 << 10
_PAUSE = 0.01
_FLUSH = 1 << 20
_PIPE = 1 << 20


class DumpFile(ABC):
    """A dump that is being written.

    Args:
        stream: the file.
        header, content: what stands before pg_dump's text, and what becomes of that.
        estimate: bytes that the text is thought to have.
    """

    def __init__(self, stream: BinaryIO, header: bytes, content: PlainDump, progress: Progress, estimate: int) -> None:
        self.stream = stream
        self.content = content
        self.header = header
        self.digest = hashlib.sha256()
        self.size = 0
        self._progress = progress
        self._estimate = max(estimate, 1)
        self._read = self._reported = 0
        self._began = time.monotonic()
        self._seconds = 0.0
        self._checksums: Mapping[str, str] = {}
        self._postgres = ""
        self._flushed = 0

    @property
    @abstractmethod
    def output(self) -> int:
        """The descriptor that pg_dump is to write to."""

    @abstractmethod
    def follow(self, ended: threading.Event) -> None:
        """Read what pg_dump writes until it has ended, and then to the end."""

    @abstractmethod
    def finish(self) -> None:
        """Write the end."""

    def close(self) -> None:
        """Let go of what there is besides the stream."""
        return

    def add_checksums(self, checksums: Mapping[str, str], postgres: str) -> None:
        """Add what the tables' rows sum up to, by a server of this version."""
        self._checksums, self._postgres = checksums, postgres

    def describe(self, path: Path) -> Dump:
        """The facts of the dump once it is finished."""
        return Dump(
            path,
            self.size,
            self.digest.hexdigest(),
            self.content.map_tables(),
            checksums=self._checksums,
            postgres=self._postgres,
            seconds=self._seconds,
        )

    def _count_bytes(self, by: int) -> None:
        """Count so many more bytes of the file."""
        self.size += by
        if self.size - self._flushed >= _FLUSH:
            # Has the disk begin at once, so that the fsync at the end is short.
            os.posix_fadvise(self.stream.fileno(), self._flushed, self.size - self._flushed, os.POSIX_FADV_DONTNEED)
            self._flushed = self.size

    def _tell(self, piece: bytes) -> None:
        """Tell how much of pg_dump's text has come."""
        self._read += len(piece)
        if self._read - self._reported >= _EVERY:
            self._reported = self._read
            self._progress(f"dump: {self._read >> 20} MiB", min(self._read / self._estimate, 0.99))


class PlainFile(DumpFile):
    """The text as it is."""

    def __init__(self, stream: BinaryIO, header: bytes, content: PlainDump, progress: Progress, estimate: int) -> None:
        super().__init__(stream, header, content, progress, estimate)
        stream.write(header)
        stream.flush()
        self.digest.update(header)
        self._count_bytes(len(header))

    @property
    def output(self) -> int:
        return self.stream.fileno()

    def follow(self, ended: threading.Event) -> None:
        with self._open_again() as file:
            file.seek(len(self.header))
            while True:
                last = ended.is_set()
                piece = file.read(_PIECE)
                if piece:
                    self._tell(piece)
                    self.digest.update(self.content.feed(piece))
                    self._count_bytes(len(piece))
                elif last:
                    return
                if len(piece) < _PIECE and not last:
                    ended.wait(_PAUSE)

    def finish(self) -> None:
        """Write over what is to be read otherwise, and write the end."""
        self.digest.update(self.content.end())
        with self._open_again() as file:
            for start, wanted in self.content.patches:
                os.pwrite(file.fileno(), wanted, len(self.header) + start)
        footer = write_footer(self.content)
        self.stream.seek(0, os.SEEK_END)
        self.stream.write(footer)
        self.digest.update(footer)
        self._count_bytes(len(footer))
        self._seconds = time.monotonic() - self._began

    def _open_again(self) -> FileIO:
        """Open the file a second time: pg_dump has the first only append, wherever one writes."""
        return FileIO(f"/proc/self/fd/{self.stream.fileno()}", "r+")


class PackedFile(DumpFile):
    """The text packed by zstd. Its size and digest are those of the file."""

    def __init__(self, stream: BinaryIO, header: bytes, content: PlainDump, progress: Progress, estimate: int) -> None:
        super().__init__(stream, header, content, progress, estimate)
        self._packer = Packer()
        self._source, self._output = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._source, False)
        fcntl(self._output, F_SETPIPE_SZ, _PIPE)
        self._put(self._packer.pack(header))

    @property
    def output(self) -> int:
        return self._output

    def follow(self, ended: threading.Event) -> None:
        try:
            while True:
                last = ended.is_set()
                try:
                    piece = os.read(self._source, _PIECE)
                except BlockingIOError:  # our own end for writing is open: it is never at its end
                    if last:
                        return
                    select.select([self._source], [], [], _PAUSE)
                    continue
                self._tell(piece)
                self._put(self._packer.pack(self.content.feed(piece)))
        except BaseException:
            os.close(self._source)  # pg_dump would wait for us for ever
            self._source = -1
            raise

    def finish(self) -> None:
        for piece in (self.content.end(), write_footer(self.content)):
            self._put(self._packer.pack(piece))
        self._put(self._packer.end())
        self._seconds = time.monotonic() - self._began

    def close(self) -> None:
        for descriptor in (self._source, self._output):
            if descriptor >= 0:
                os.close(descriptor)

    def _put(self, packed: bytes) -> None:
        self.stream.write(packed)
        self.digest.update(packed)
        self._count_bytes(len(packed))


@contextmanager
def open_dump_file(
    stream: BinaryIO, path: Path, header: bytes, content: PlainDump, progress: Progress, estimate: int
) -> Iterator[DumpFile]:
    """A dump for the block that is to be at `path`: packed where its name says so."""
    kind = PackedFile if path.suffix == ".zst" else PlainFile
    file = kind(stream, header, content, progress, estimate)
    try:
        yield file
    finally:
        file.close()


def write_footer(content: PlainDump) -> bytes:
    """Write the end of a dump, which stands after pg_dump's text."""
    begun = b"" if content.is_quoted else b":run" + content.mark
    # A cursor that the app's code has left open would be read to its end by COMMIT, with the admin's rights.
    return (
        b"\n"
        + begun
        + content.mark
        + b");\nCLOSE ALL;\nSELECT :schema.take_back() \\gset\nDROP SCHEMA :schema CASCADE;\nCOMMIT;\n\\endif\n"
    )
