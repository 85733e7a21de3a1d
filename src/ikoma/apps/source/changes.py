"""Changes in an app's source since a release kept it, found without keeping anything."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ikoma.app_folder import can_be_a_path
from ikoma.apps.snapshots.manifest import Snapshot, SnapshotEntry
from ikoma.apps.snapshots.taking import UNASKED
from ikoma.compose.mounts import Sources
from ikoma.durable import open_file

_READ = 1 << 20


@dataclass(frozen=True, slots=True)
class SourceChanges:
    """Paths relative to the app's folder; `size` is bytes of what is new."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    size: int = 0

    def has_any_below(self, root: Path, path: Path) -> bool:
        """Whether something has changed at a path or below it."""
        place = os.path.relpath(path, root)
        return any(
            found == place or found.startswith(f"{place}/") or place == "."
            for found in (*self.added, *self.changed, *self.removed)
        )


def find_changes(root: Path, found: Sources, before: Snapshot) -> SourceChanges:
    """Compare the source of an app with what a release kept of it. Links are not followed."""
    now = dict(_walk(root, found.paths, found.left_out))
    known = {
        path: entry
        for path, entry in before.entries.items()
        if entry.kind != "folder" and (path not in UNASKED or path in now)
    }
    added = [path for path in now if path not in known]
    changed = [path for path, status in now.items() if path in known and _differs(root / path, status, known[path])]
    return SourceChanges(
        tuple(sorted(added)),
        tuple(sorted(changed)),
        tuple(sorted(path for path in known if path not in now)),
        sum(now[path].st_size for path in (*added, *changed)),
    )


def compute_marks(root: Path, paths: Sequence[Path], data: Sequence[Path] = ()) -> str:
    """Compute a checksum that is another one after any change of these files, also one back."""
    digest = hashlib.sha256()
    for path, status in sorted(_walk(root, paths, data)):
        mark = (status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
        digest.update(f"{os.fsencode(path)!r} {mark}\n".encode())
    return digest.hexdigest()


def _walk(root: Path, paths: Sequence[Path], data: Sequence[Path]) -> Iterator[tuple[str, os.stat_result]]:
    """Walk what a snapshot would take, and files that are asked for by their own path."""
    never = {Path(os.path.realpath(root)) / name for name in UNASKED}
    for path in paths:
        if not can_be_a_path(str(path)):
            continue
        if not path.is_dir() or path.is_symlink():
            try:
                status = path.lstat()
            except OSError:  # it is not there
                continue
            yield os.path.relpath(path, root), status
            continue
        for place, folders, names in os.walk(path):
            folders[:] = [name for name in folders if Path(place, name) not in (*data, *never)]
            for entry in (Path(place, name) for name in (*names, *folders)):
                if entry in never:
                    continue
                try:
                    status = entry.lstat()
                except FileNotFoundError:  # it went while we looked
                    continue
                if stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode):
                    yield os.path.relpath(entry, root), status


def _differs(path: Path, status: os.stat_result, known: SnapshotEntry) -> bool:
    if stat.S_ISLNK(status.st_mode):
        try:
            return known.kind != "link" or str(path.readlink()) != known.content
        except OSError:  # it is not what it was a moment ago
            return True
    if known.kind != "file" or known.size != status.st_size or known.mode != status.st_mode & 0o777:
        return True
    if known.mark == (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino):
        return False
    digest = hashlib.sha256()
    try:
        descriptor = open_file(path)
    except OSError:  # it is not what it was a moment ago
        return True
    with os.fdopen(descriptor, "rb") as file:
        while piece := file.read(_READ):
            digest.update(piece)
    return digest.hexdigest() != known.content
