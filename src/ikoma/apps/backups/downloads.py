"""Backups on their way to another machine: read once and compared with their record, then given out for an hour.

A whole backup is a folder; it goes as one tar file whose bytes are known beforehand, so it has a length and a checksum,
and any part of it can be asked for again.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import tarfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ikoma.durable import open_file
from ikoma.errors import BackupDamaged, NotFound, TooManyDownloads

SECONDS = 3600
_MOST = 100
_PIECE = 256 << 10
_BLOCK = 512


@dataclass(frozen=True, slots=True)
class PackedBackup:
    """The bytes of a download: pieces of memory and files, one after another."""

    name: str
    parts: tuple[bytes | Path, ...]
    lengths: tuple[int, ...]
    sha256: str = ""

    @property
    def size(self) -> int:
        return sum(self.lengths)

    def require_there(self) -> None:
        """Raise BackupDamaged where a file has gone, or is another by its size."""
        for part, length in zip(self.parts, self.lengths, strict=True):
            if isinstance(part, Path) and (not part.is_file() or part.stat().st_size != length):
                raise BackupDamaged(f"{self.name} is not there any more as it was given out.")

    def read(self, start: int, end: int) -> Iterator[bytes]:
        """Read the bytes from `start` to before `end`; BackupDamaged where a file has become shorter."""
        place = 0
        for part, length in zip(self.parts, self.lengths, strict=True):
            first, last = max(start - place, 0), min(end - place, length)
            if first < last:
                yield from _read_part(part, first, last)
            place += length

    async def stream(self, start: int, end: int) -> AsyncIterator[bytes]:
        """Read these bytes beside the event loop."""
        pieces = self.read(start, end)
        while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
            yield piece


class BackupDownloads:
    """Downloads that were offered, each under an address that nobody can guess."""

    def __init__(self) -> None:
        self._offered: dict[str, tuple[float, PackedBackup]] = {}

    def offer(self, packed: PackedBackup) -> str:
        """Give a download out for an hour: the token of its address.

        Raises:
            TooManyDownloads: a hundred are given out.
        """
        now = time.monotonic()
        self._offered = {token: item for token, item in self._offered.items() if item[0] > now}
        if len(self._offered) >= _MOST:
            raise TooManyDownloads
        token = secrets.token_urlsafe(32)
        self._offered[token] = now + SECONDS, packed
        return token

    def find(self, token: str) -> PackedBackup:
        """Find a download that is given out; NotFound where there is none, or its hour is over."""
        until, packed = self._offered.get(token, (0.0, None))
        if packed is None or until < time.monotonic():
            raise NotFound
        return packed


def pack_file(path: Path, sha256: str) -> PackedBackup:
    """Make a download of a file; BackupDamaged where it is not what its record says."""
    packed = _measure(path.name, (path,))
    if packed.sha256 != sha256:
        raise BackupDamaged(f"{path.name} is not what its manifest says: its checksum is another.")
    return packed


def pack_folder(place: Path, files: Mapping[str, Mapping[str, object]], manifest: str) -> PackedBackup:
    """Make a download of a folder as a tar file.

    Args:
        files: path inside → its size and SHA-256, by the record.
        manifest: the path of that record itself.

    Raises:
        BackupDamaged: a file is not what its record says.
    """
    parts: list[bytes | Path] = []
    for name in (manifest, *sorted(files)):
        path = place / name
        size = path.stat().st_size if path.is_file() else -1
        if name in files and files[name] != {"size": size, "sha256": _hash((path,), (size,)) if size >= 0 else ""}:
            raise BackupDamaged(f"{place.name} is not what its manifest says: {name} is another, or is not there.")
        parts += [_make_head(f"{place.name}/{name}", size), path, b"\0" * (-size % _BLOCK)]
    return _measure(f"{place.name}.tar", (*parts, b"\0" * (2 * _BLOCK)))


def _measure(name: str, parts: tuple[bytes | Path, ...]) -> PackedBackup:
    lengths = tuple(part.stat().st_size if isinstance(part, Path) else len(part) for part in parts)
    return PackedBackup(name, parts, lengths, _hash(parts, lengths))


def _make_head(name: str, size: int) -> bytes:
    item = tarfile.TarInfo(name)
    item.size, item.mode = size, 0o600
    return item.tobuf(tarfile.PAX_FORMAT)


def _hash(parts: tuple[bytes | Path, ...], lengths: tuple[int, ...]) -> str:
    digest = hashlib.sha256()
    for piece in PackedBackup("", parts, lengths).read(0, sum(lengths)):
        digest.update(piece)
    return digest.hexdigest()


def _read_part(part: bytes | Path, first: int, last: int) -> Iterator[bytes]:
    if isinstance(part, bytes):
        yield part[first:last]
        return
    with os.fdopen(open_file(part), "rb") as file:
        file.seek(first)
        left = last - first
        while left:
            piece = file.read(min(left, _PIECE))
            if not piece:
                raise BackupDamaged(f"{part.name} has become shorter.")
            left -= len(piece)
            yield piece
