"""The manifest of a snapshot: every path with its kind, mode, owner, size, and digest or target of a link.

It is JSON, compressed because twenty releases keep twenty of it, and never changed once written. Names that are not
UTF-8 are kept as Python's surrogate escapes. Times stand in it only to tell which files need not be read again.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import zlib
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from ikoma.apps.snapshots.store import name_object
from ikoma.durable import open_file, write_file

MANIFEST = "snapshot.json.gz"
_FORMAT = 1


class SnapshotEntry(NamedTuple):
    """An entry of a snapshot. `content`: a file's SHA-256, a link's target. `mtime`, `ctime` and `inode` tell whether a
    file was touched since (all 0: it must be read again).
    """

    kind: str
    mode: int
    uid: int
    gid: int
    content: str = ""
    size: int = 0
    mtime: int = 0
    ctime: int = 0
    inode: int = 0

    @property
    def mark(self) -> tuple[int, int, int, int]:
        return self.size, self.mtime, self.ctime, self.inode

    @property
    def object(self) -> str:
        return name_object(self.content, self.mode, self.uid, self.gid)


def compute_file_digest(name: str | Path, *, dir_fd: int | None = None) -> str:
    """Compute the digest of a file as it is now, as an entry has it."""
    with os.fdopen(open_file(name, dir_fd=dir_fd), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Snapshot:
    """A tree as it was. `entries` go by path relative to `root`, sorted; "." is the root itself."""

    root: Path
    """The app's folder, its links resolved."""
    entries: Mapping[str, SnapshotEntry]
    left_out: Sequence[str] = ()
    """Paths left out, for people: sockets, devices and such, and files that never stood still."""

    @classmethod
    def read(cls, manifest: Path, root: Path) -> Snapshot:
        """Read a snapshot as it was written; ValueError where the file is none."""
        try:
            stored = json.loads(gzip.decompress(manifest.read_bytes()))
            if stored["format"] != _FORMAT:
                raise ValueError(f"it has format {stored['format']}")
            entries = {path: SnapshotEntry._make(values) for path, values in stored["entries"].items()}
            return cls(Path(os.path.realpath(root)), entries, stored["left_out"])
        except (ValueError, KeyError, TypeError, EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{manifest} is no manifest of a snapshot: {error}") from error

    def write(self, manifest: Path) -> None:
        stored = {"format": _FORMAT, "left_out": self.left_out, "entries": self.entries}
        text = json.dumps(stored, separators=(",", ":"))
        write_file(manifest, gzip.compress(text.encode("ascii"), compresslevel=1, mtime=0), mode=0o600)

    def compute_digest(self, path: Path) -> str:
        """One digest of a file, or a folder with all in it: names, contents, modes, owners and targets, not times.

        Empty where the snapshot holds nothing of that path, which is absolute or relative to the app's folder.
        """
        digest = hashlib.sha256()
        names = self.list_under(path)
        for name in names:
            entry = self.entries[name]
            seen = (name[len(names[0]) :] if names[0] != "." else name, *entry[:5])
            digest.update(json.dumps(seen).encode("ascii"))
        return digest.hexdigest() if names else ""

    def list_under(self, path: Path) -> Sequence[str]:
        """List the path and all below it, as far as the snapshot holds them, sorted."""
        key = str(path.relative_to(self.root) if path.is_absolute() else path)
        if key == ".":
            return self._names
        inside = self._names[bisect_left(self._names, f"{key}/") : bisect_left(self._names, f"{key}0")]
        return [key, *inside] if key in self.entries else inside

    def list_objects(self) -> dict[str, tuple[str, SnapshotEntry]]:
        """List the objects that it needs, each with one path and entry that need it."""
        files = ((path, entry) for path, entry in self.entries.items() if entry.kind == "file")
        return {entry.object: (path, entry) for path, entry in files}

    @cached_property
    def _names(self) -> list[str]:
        return list(self.entries)
