"""Snapshots of an app's source: what a release runs from, so that editing the folder changes nothing that runs.

A snapshot is a manifest in the release's folder: every path with its kind, mode, owner and digest. The contents are
objects that all releases of the app share, so that a release costs what has changed. Links are kept and never
followed; what is swapped in meanwhile leads nowhere else. Not kept: extended attributes, setuid and setgid of files,
and that two names were one file. Everybody who calls holds the app's lock.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from ikoma.app_folder import App
from ikoma.apps.snapshots.manifest import MANIFEST, Snapshot, SnapshotEntry
from ikoma.apps.snapshots.store import ObjectStore
from ikoma.apps.snapshots.taking import Parts, Progress, SnapshotProgress, Taking, open_root
from ikoma.compose.release_folder import TREE
from ikoma.durable import open_file, sync_filesystem, sync_folder, translate_disk_full
from ikoma.errors import FileMissing, PathOutside
from ikoma.model import make_printable

__all__ = ["MANIFEST", "Snapshot", "Snapshots"]


class Snapshots:
    """The snapshots of one app."""

    def __init__(self, app: App, *, keep: Path | None = None) -> None:
        """
        Args:
            keep: a folder for the contents of snapshots that are no releases; the app's own state when omitted.
        """
        self._app = app
        self._objects = ObjectStore((keep or app.state) / "objects")
        self._releases = (keep or app.state) / "releases"

    def take(
        self,
        paths: Sequence[Path],
        into: Path,
        earlier: Path | None = None,
        *,
        data: Collection[Path] = (),
        cancelled: Callable[[], bool] = lambda: False,
        progress: Progress = lambda files, size: None,
    ) -> Snapshot:
        """Record files and folders of the app.

        Args:
            paths: absolute, resolved and inside the app's folder.
            into: the manifest that is written, named MANIFEST, in the release's folder; last, when all is on the disk.
            earlier: a manifest; files that are as it noted them are not read again.
            data: folders of which nothing is recorded but that they are there.
            cancelled: asked before each file and each MiB.
            progress: called with the files and bytes that have been read so far.

        Raises:
            FileMissing: one of the paths is not there.
            PathOutside: one is not inside the app's folder, or what stood there was swapped meanwhile.
            SourceTooLarge: a path is too long.
            OperationCancelled, DiskFull
        """
        if into.name != MANIFEST:
            raise ValueError(f"A manifest is named {MANIFEST}: others would not keep their objects.")
        root = Path(os.path.realpath(self._app.path))
        closed = frozenset(path.relative_to(root).parts for path in data)
        wanted = _select_distinct(paths, root, closed)
        self._app.make_state()
        known = _read_earlier(earlier, root)
        with self._objects.receive() as incoming, open_root(root) as folder:
            taking = Taking(
                folder, known.entries if known else {}, incoming, SnapshotProgress(cancelled, progress), closed
            )
            for parts in wanted:
                taking.take(parts)
        snapshot = Snapshot(root, {path: taking.entries[path] for path in sorted(taking.entries)}, taking.left_out)
        with translate_disk_full():
            if earlier and known == snapshot:
                _share(earlier, into)
            else:
                snapshot.write(into)
        return snapshot

    def share(self, earlier: Path, into: Path) -> None:
        """Record the same for another release.

        Raises:
            FileNotFoundError: there is no such manifest.
        """
        with translate_disk_full():
            _share(earlier, into)

    def materialise(
        self,
        snapshot: Snapshot,
        target: Path,
        *,
        writable: Collection[Path] = (),
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        """Make the tree of a snapshot; where it is made already, nothing is done.

        Args:
            target: an absolute path in the release's folder, such as its TREE.
            writable: where containers may write: files there are copies of their own, all others are hard links
                to objects and must be mounted read-only.

        Raises:
            FileMissing: the content of a file is not there any more.
            OperationCancelled, DiskFull
        """
        if os.path.lexists(target):
            return
        new = target.with_name(f"{target.name}.new")
        course = SnapshotProgress(cancelled, lambda files, size: None)
        own = {path for folder in writable for path in snapshot.list_under(folder)}
        with translate_disk_full():
            _remove(new)
            new.mkdir(mode=0o700)
            for path, entry in snapshot.entries.items():
                self._place(path, entry, f"{new}/{path}", path in own, course)
            for path, entry in reversed(list(snapshot.entries.items())):
                if entry.kind == "folder" and path != ".":  # the tree itself stays the server's alone
                    os.chown(new / path, entry.uid, entry.gid)
                    (new / path).chmod(entry.mode)
            sync_filesystem(new)
            os.rename(new, target)
            sync_folder(target.parent)

    def collect_garbage(self) -> int:
        """Remove objects that no release names, and trees that were not finished; how many bytes became free.

        Raises:
            ValueError: a manifest can't be read; then nothing was removed.
        """
        named: set[str] = set()
        for manifest in self._releases.glob(f"*/{MANIFEST}"):
            named |= Snapshot.read(manifest, self._app.path).list_objects().keys()
        for unfinished in self._releases.glob(f"*/{TREE}.new"):
            _remove(unfinished)
        return self._objects.remove_all_but(named)

    def open(self, path: str, entry: SnapshotEntry) -> int:
        """Open the content of a file of a snapshot; FileMissing where it is not there any more."""
        try:
            return open_file(self._objects.find_path(entry.object))
        except FileNotFoundError:
            raise FileMissing(f"The content of {make_printable(path)} is not there any more.") from None

    def verify(self, snapshot: Snapshot, *, cancelled: Callable[[], bool] = lambda: False) -> list[str]:
        """Verify the objects of a snapshot: a sentence for each that is missing or changed."""
        course = SnapshotProgress(cancelled, lambda files, size: None)
        found = []
        for name, (path, entry) in snapshot.list_objects().items():
            if fault := self._objects.find_fault(name, entry.size, course.advance):
                found.append(f"The copy of {make_printable(path)} {fault}.")
        return found

    def _place(self, path: str, entry: SnapshotEntry, place: str, is_own: bool, course: SnapshotProgress) -> None:
        if path == ".":
            return
        if entry.kind == "folder":
            Path(place).mkdir(0o700)
        elif entry.kind == "link":
            os.symlink(entry.content, place)
            os.chown(place, entry.uid, entry.gid, follow_symlinks=False)
        else:
            course.advance(0)
            try:
                if is_own:
                    self._objects.copy(entry.object, place, course.advance)
                else:
                    self._objects.link(entry.object, place)
            except FileNotFoundError:
                raise FileMissing(f"The content of {make_printable(path)} is not there any more.") from None


def _read_earlier(manifest: Path | None, root: Path) -> Snapshot | None:
    """Read an earlier manifest; None where there is none, or none that can be read: then all is read."""
    try:
        return Snapshot.read(manifest, root) if manifest else None
    except (FileNotFoundError, ValueError):
        return None


def _share(earlier: Path, into: Path) -> None:
    """Share a manifest with another release: it is never written to, so that two may be one file."""
    if into.exists() and into.samefile(earlier):
        return
    into.unlink(missing_ok=True)
    os.link(earlier, into)
    sync_folder(into.parent)


def _select_distinct(paths: Sequence[Path], root: Path, closed: Collection[Parts]) -> list[Parts]:
    """Select the paths within the root, without those that the walk of another one comes to."""
    found: list[Parts] = []
    for path in paths:
        if not path.is_relative_to(root):
            raise PathOutside(f"{make_printable(str(path))} is not inside the app's folder.")
        if ".." in path.parts:
            raise PathOutside(f"{make_printable(str(path))} is not resolved.")
        found.append(path.relative_to(root).parts)
    known, ways = set(found), {parts: [parts[:n] for n in range(len(parts) - 1, -1, -1)] for parts in set(found)}
    ends = {parts: next((way for way in above if way in known or way in closed), None) for parts, above in ways.items()}
    return [parts for parts in sorted(known) if ends[parts] is None or ends[parts] in closed]


def _remove(tree: Path) -> None:
    """Remove a tree that nobody uses. Its folders may be closed to their owner; its files are objects and stay so."""
    if tree.is_dir():
        for folder, _, _ in os.walk(tree):
            Path(folder).chmod(0o700)
        shutil.rmtree(tree)
