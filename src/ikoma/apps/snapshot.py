"""Snapshots of an app's source: what a release runs from, so that editing the folder changes nothing that runs.

A snapshot is a manifest in the release's folder: every path with its kind, mode, owner and digest. The contents are
objects that all releases of the app share, so that a release costs what has changed. Links are kept and never
followed; what is swapped in meanwhile leads nowhere else. Not kept: extended attributes, setuid and setgid of files,
and that two names were one file. Everybody who calls holds the app's lock.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from ikoma.apps.folder import App
from ikoma.apps.objects import Incoming, Objects, mark, owner
from ikoma.apps.snapshot_manifest import MANIFEST, Entry, Snapshot, printable
from ikoma.durable import disk_full_answered, sync_filesystem, sync_folder
from ikoma.errors import FileMissing, OperationCancelled, PathOutside, SourceTooLarge

TREE = "tree"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEVER = (".ikoma", ".env")
_LONGEST_PATH = 3000
_TICK = 100_000_000
_COARSE_TICK = 2_000_000_000

_Parts = tuple[str, ...]
Progress = Callable[[int, int], None]


class Snapshots:
    """The snapshots of one app."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._objects = Objects(app.state / "objects")
        self._releases = app.state / "releases"

    def take(
        self,
        paths: Sequence[Path],
        into: Path,
        earlier: Path | None = None,
        *,
        cancelled: Callable[[], bool] = lambda: False,
        progress: Progress = lambda files, size: None,
    ) -> Snapshot:
        """Record files and folders of the app.

        Args:
            paths: absolute, resolved and inside the app's folder.
            into: the manifest that is written, named MANIFEST, in the release's folder; last, when all is on the disk.
            earlier: a manifest; files that are as it noted them are not read again.
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
        wanted = _distinct(paths, root)
        self._app.make_state()
        known = _entries(earlier, root)
        with self._objects.incoming() as incoming, _opened_root(root) as folder:
            taking = _Taking(folder, known, incoming, _Course(cancelled, progress))
            for parts in wanted:
                taking.take(parts)
        snapshot = Snapshot(root, {path: taking.entries[path] for path in sorted(taking.entries)}, taking.left_out)
        with disk_full_answered():
            if earlier and known == snapshot.entries and not taking.left_out:
                _share(earlier, into)
            else:
                snapshot.write(into)
        return snapshot

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
        course = _Course(cancelled, lambda files, size: None)
        own = {path for folder in writable for path in snapshot.under(folder)}
        with disk_full_answered():
            _remove(new)
            new.mkdir(mode=0o700)
            for path, entry in snapshot.entries.items():
                self._place(path, entry, f"{new}/{path}", path in own, course)
            for path, entry in reversed(list(snapshot.entries.items())):
                if entry.kind == "folder":
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
            named |= Snapshot.read(manifest, self._app.path).objects().keys()
        for unfinished in self._releases.glob(f"*/{TREE}.new"):
            _remove(unfinished)
        return self._objects.remove_all_but(named)

    def verify(self, snapshot: Snapshot, *, cancelled: Callable[[], bool] = lambda: False) -> list[str]:
        """What is wrong with the objects of a snapshot: a sentence for each that is missing or changed."""
        course = _Course(cancelled, lambda files, size: None)
        found = []
        for name, (path, entry) in snapshot.objects().items():
            if fault := self._objects.fault(name, entry.size, course.passed):
                found.append(f"The copy of {printable(path)} {fault}.")
        return found

    def _place(self, path: str, entry: Entry, place: str, is_own: bool, course: _Course) -> None:
        if path == ".":
            return
        if entry.kind == "folder":
            Path(place).mkdir(0o700)
        elif entry.kind == "link":
            os.symlink(entry.content, place)
            os.chown(place, entry.uid, entry.gid, follow_symlinks=False)
        else:
            course.passed(0)
            try:
                self._objects.copy(entry.object, place, course.passed) if is_own else self._objects.link(
                    entry.object, place
                )
            except FileNotFoundError:
                raise FileMissing(f"The content of {printable(path)} is not there any more.") from None


class _Course:
    """How far it has come, and whether it may go on."""

    def __init__(self, cancelled: Callable[[], bool], progress: Progress) -> None:
        self._cancelled = cancelled
        self._progress = progress
        self._files = self._size = 0

    def passed(self, size: int) -> None:
        if self._cancelled():
            raise OperationCancelled
        self._size += size
        if size:
            self._progress(self._files, self._size)

    def file(self) -> None:
        self.passed(0)
        self._files += 1


class _Taking:
    """One walk through an app's folder. Each step is opened from the one before it, and never through a link."""

    def __init__(self, root: int, known: Mapping[str, Entry], incoming: Incoming, course: _Course) -> None:
        self._root = root
        self._known = known
        self._incoming = incoming
        self._course = course
        self.entries: dict[str, Entry] = {}
        self.left_out: list[str] = []

    def take(self, parts: _Parts) -> None:
        """Record what stands at a path, and the folders that lead to it."""
        if parts and parts[0] in _NEVER:
            self._leave_out("/".join(parts), "never part of a snapshot")
            return
        try:
            for depth in range(len(parts)):
                with _open(self._root, parts[:depth]) as folder:
                    self._folder(parts[:depth], os.fstat(folder))
            with _open(self._root, parts[:-1]) as folder:
                status = os.stat(parts[-1] if parts else ".", dir_fd=folder, follow_symlinks=False)
                if stat.S_ISLNK(status.st_mode):
                    raise _swapped(parts)
                if not stat.S_ISDIR(status.st_mode):
                    self._note(folder, parts, status)
                    return
        except FileNotFoundError:
            raise FileMissing(f"There is no {printable('/'.join(parts))} to take.") from None
        self._walk(parts)

    def _walk(self, start: _Parts) -> None:
        """No folder is kept open while those in it are walked, however deep they go."""
        pending = [start]
        while pending:
            parts = pending.pop()
            with suppress(FileNotFoundError), _open(self._root, parts) as folder:  # it may go while we look
                self._folder(parts, os.fstat(folder))
                pending += self._inside(folder, parts)

    def _inside(self, folder: int, parts: _Parts) -> list[_Parts]:
        """Record what stands in an open folder; the folders in it."""
        folders = []
        with os.scandir(folder) as found:
            for entry in found:
                if not parts and entry.name in _NEVER:
                    continue
                with suppress(FileNotFoundError):
                    if entry.is_dir(follow_symlinks=False):
                        folders.append((*parts, entry.name))
                    else:
                        self._note(folder, (*parts, entry.name), entry.stat(follow_symlinks=False))
        return folders

    def _folder(self, parts: _Parts, status: os.stat_result) -> None:
        path = "/".join(parts) or "."
        if len(os.fsencode(path)) > _LONGEST_PATH:
            raise SourceTooLarge(f"A path is longer than {_LONGEST_PATH} bytes: {printable(path)[:100]}…")
        self.entries[path] = Entry("folder", status.st_mode & 0o1777, *owner(status))

    def _note(self, folder: int, parts: _Parts, status: os.stat_result) -> None:
        path = "/".join(parts)
        if stat.S_ISREG(status.st_mode):
            self._file(folder, parts[-1], path, status)
        elif stat.S_ISLNK(status.st_mode):
            self.entries[path] = Entry("link", 0o777, *owner(status), os.readlink(parts[-1], dir_fd=folder))
        else:
            self._leave_out(path, "neither a file nor a folder nor a link")

    def _file(self, folder: int, name: str, path: str, status: os.stat_result) -> None:
        earlier = self._known.get(path)
        if earlier and earlier.mark == mark(status) and self._incoming.has(earlier.object):
            self.entries[path] = earlier
            return
        self._course.file()
        started = time.time_ns()
        with _opened_file(folder, name, path) as source:
            taken = self._incoming.take(source, self._course.passed)
        if taken.status is None:
            self._leave_out(path, "changed whenever it was read; taken as it was read last")
        entry = Entry("file", taken.mode, taken.uid, taken.gid, taken.digest, taken.size)
        if taken.status and _is_settled(taken.status, started):
            _, mtime, ctime, inode = mark(taken.status)
            entry = entry._replace(mtime=mtime, ctime=ctime, inode=inode)
        self.entries[path] = entry

    def _leave_out(self, path: str, why: str) -> None:
        self.left_out.append(f"{printable(path)}: {why}")


def _is_settled(status: os.stat_result, started: int) -> bool:
    """Whether any later change will have another time: a change within a tick of the clock has the same."""
    tick = _TICK if status.st_ctime_ns % 1_000_000_000 else _COARSE_TICK
    return status.st_ctime_ns < started - tick


def _entries(earlier: Path | None, root: Path) -> Mapping[str, Entry]:
    """What an earlier manifest noted; nothing where there is none, or none that can be read: then all is read."""
    try:
        return Snapshot.read(earlier, root).entries if earlier else {}
    except (FileNotFoundError, ValueError):
        return {}


def _share(earlier: Path, into: Path) -> None:
    """The same manifest for another release: it is never written to, so that two may be one file."""
    into.unlink(missing_ok=True)
    os.link(earlier, into)
    sync_folder(into.parent)


@contextmanager
def _opened_root(root: Path) -> Iterator[int]:
    folder = os.open(root, _FOLDER)
    try:
        yield folder
    finally:
        os.close(folder)


@contextmanager
def _open(root: int, parts: _Parts) -> Iterator[int]:
    """A folder beneath another, open."""
    folder = os.open(".", _FOLDER, dir_fd=root)
    try:
        for part in parts:
            inside = os.open(part, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = inside
    except OSError as error:
        os.close(folder)
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise _swapped(parts) from None
        raise
    try:
        yield folder
    finally:
        os.close(folder)


@contextmanager
def _opened_file(folder: int, name: str, path: str) -> Iterator[int]:
    try:
        source = os.open(name, _FILE, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise _swapped((path,)) from None
        raise
    try:
        if not stat.S_ISREG(os.fstat(source).st_mode):
            raise _swapped((path,))
        yield source
    finally:
        os.close(source)


def _swapped(parts: _Parts) -> PathOutside:
    return PathOutside(f"{printable('/'.join(parts))} is not what it was a moment ago.")


def _distinct(paths: Sequence[Path], root: Path) -> list[_Parts]:
    """The paths within the root, without those that another one holds."""
    found: list[_Parts] = []
    for path in paths:
        if not path.is_relative_to(root):
            raise PathOutside(f"{printable(str(path))} is not inside the app's folder.")
        if ".." in path.parts:
            raise PathOutside(f"{printable(str(path))} is not resolved.")
        found.append(path.relative_to(root).parts)
    return [parts for parts in sorted(set(found)) if not any(parts[:n] in found for n in range(len(parts)))]


def _remove(tree: Path) -> None:
    """Remove a tree that nobody uses. Its folders may be closed to their owner; its files are objects and stay so."""
    if tree.is_dir():
        for folder, _, _ in os.walk(tree):
            Path(folder).chmod(0o700)
        shutil.rmtree(tree)
