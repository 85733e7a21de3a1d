"""The files of a backup as one tar stream, cut into parts.

The same files give the same bytes: by that a sender goes on where it was cut off.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from ikoma.durable import open_file, open_whole_file
from ikoma.errors import BackupDamaged, OffsiteDamaged

PART_BYTES = 8 << 20
_PIECE = 1 << 20
_BLOCK = tarfile.BLOCKSIZE


def pack(files: Mapping[str, Path]) -> Iterator[bytes]:
    """The tar stream of these files, by their names in it; BackupDamaged where one changes meanwhile."""
    for name in sorted(files):
        with os.fdopen(open_file(files[name]), "rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            item = tarfile.TarInfo(name)
            item.size, item.mode = size, 0o600
            yield item.tobuf(tarfile.PAX_FORMAT)
            left = size
            while left:
                piece = stream.read(min(left, _PIECE))
                if not piece:
                    raise BackupDamaged(f"{name} became shorter while it was read.")
                left -= len(piece)
                yield piece
            yield bytes(-size % _BLOCK)
    yield bytes(2 * _BLOCK)


def cut(pieces: Iterator[bytes], size: int = PART_BYTES) -> Iterator[bytes]:
    """Cut a stream into parts of one size; the last may be shorter."""
    part = bytearray()
    for piece in pieces:
        view = memoryview(piece)
        while view:
            taken = view[: size - len(part)]
            part += taken
            view = view[len(taken) :]
            if len(part) == size:
                yield bytes(part)
                part.clear()
    if part:
        yield bytes(part)


def unpack(parts: Iterator[bytes], target: Path) -> None:
    """Write the files of a tar stream below a folder; OffsiteDamaged where it is none, or holds anything else."""
    try:
        with tarfile.open(fileobj=_Joined(parts), mode="r|") as archive:
            while (item := archive.next()) is not None:
                content = archive.extractfile(item) if item.isreg() else None
                if content is None or not _is_inside(item.name):
                    raise OffsiteDamaged(f"The copy holds {item.name!r}, which is no file of a backup.")
                _write(content, target / item.name)
                vars(archive)["members"] = []  # it would remember every one
    except tarfile.TarError as error:
        raise OffsiteDamaged("The copy ends too early, or is no tar file.") from error


def _is_inside(name: str) -> bool:
    return bool(name) and not name.startswith("/") and not {"", ".", ".."} & set(name.split("/"))


def _write(content: IO[bytes], path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open_whole_file(path, mode=0o600) as stream:
        while piece := content.read(_PIECE):
            stream.write(piece)


class _Joined(io.RawIOBase):
    """Parts as one file that is read from its beginning to its end."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self._rest = memoryview(b"")

    def read(self, size: int = -1) -> bytes:
        if not self._rest:
            self._rest = memoryview(next(self._parts, b""))
        found = self._rest[: size if size >= 0 else len(self._rest)]
        self._rest = self._rest[len(found) :]
        return bytes(found)
