"""The walk through an app's folder that takes a snapshot.

Each step is opened from the folder before it and never through a link: whatever is swapped in meanwhile, nothing
outside is read. What goes while we look was never there; what turns into something else ends the walk.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from ikoma.apps.snapshots.manifest import SnapshotEntry
from ikoma.apps.snapshots.store import IncomingObjects, choose_owner, make_mark
from ikoma.durable import open_file
from ikoma.errors import FileMissing, OperationCancelled, PathOutside, SourceTooLarge
from ikoma.model import make_printable, quote_name

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
NEVER = (".ikoma", ".env")
"""Names in an app's folder that are never part of a snapshot."""
UNASKED = (*NEVER, "RUNBOOK.md")
"""Names that are no part of it where the whole folder is taken: a file that each deploy writes would change all that is
built from the folder, at each deploy."""
_LONGEST_PATH = 3000
_TICK, _COARSE_TICK = 100_000_000, 2_000_000_000
"""Nanoseconds within which two changes may have the same time, also where a filesystem keeps whole seconds."""

Parts = tuple[str, ...]
Progress = Callable[[int, int], None]


class _Gone(Exception):
    """A path that was there a moment ago, and is gone."""


class SnapshotProgress:
    """The progress of a snapshot, and whether it may go on."""

    def __init__(self, cancelled: Callable[[], bool], progress: Progress) -> None:
        self._cancelled = cancelled
        self._progress = progress
        self._files = self._size = 0

    def advance(self, size: int) -> None:
        if self._cancelled():
            raise OperationCancelled
        self._size += size
        if size:
            self._progress(self._files, self._size)

    def count_file(self) -> None:
        self.advance(0)
        self._files += 1


class Taking:
    """One walk, which looks into no folder that is closed. `entries` and `left_out` grow as those of a snapshot."""

    def __init__(
        self,
        root: int,
        known: Mapping[str, SnapshotEntry],
        incoming: IncomingObjects,
        course: SnapshotProgress,
        closed: frozenset[Parts] = frozenset(),
    ) -> None:
        self._root = root
        self._known = known
        self._incoming = incoming
        self._course = course
        self._closed = closed
        self.entries: dict[str, SnapshotEntry] = {}
        self.left_out: list[str] = []

    def take(self, parts: Parts) -> None:
        """Record what stands at a path, and the folders that lead to it."""
        if parts and parts[0] in NEVER:
            self._leave_out("/".join(parts), "never part of a snapshot")
            return
        try:
            for depth in range(len(parts)):
                with _open_folder(self._root, parts[:depth]) as folder:
                    self._record_folder(parts[:depth], os.fstat(folder))
            with _open_folder(self._root, parts[:-1]) as folder:
                status = _read_status(folder, parts[-1] if parts else ".")
                if stat.S_ISLNK(status.st_mode):
                    raise _make_swapped_error("/".join(parts))
                if not stat.S_ISDIR(status.st_mode):
                    self._record(folder, parts, status)
                    return
        except _Gone:
            raise FileMissing(f"There is no {quote_name('/'.join(parts))} to take.") from None
        self._walk(parts)

    def _walk(self, start: Parts) -> None:
        """No folder is kept open while those in it are walked, however deep they go."""
        pending = [start]
        while pending:
            parts = pending.pop()
            with suppress(_Gone), _open_folder(self._root, parts) as folder:
                self._record_folder(parts, os.fstat(folder))
                pending += () if parts in self._closed else self._record_inside(folder, parts)

    def _record_inside(self, folder: int, parts: Parts) -> list[Parts]:
        """Record what stands in an open folder; the folders in it."""
        folders = []
        with os.scandir(folder) as found:
            for entry in found:
                if not parts and entry.name in UNASKED:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append((*parts, entry.name))
                    continue
                with suppress(_Gone):
                    self._record(folder, (*parts, entry.name), _read_status(folder, entry.name))
        return folders

    def _record_folder(self, parts: Parts, status: os.stat_result) -> None:
        path = "/".join(parts) or "."
        if len(os.fsencode(path)) > _LONGEST_PATH:
            raise SourceTooLarge(
                f"A path is longer than {_LONGEST_PATH} bytes: {quote_name(make_printable(path)[:100] + '…')}"
            )
        self.entries[path] = SnapshotEntry("folder", status.st_mode & 0o1777, *choose_owner(status))

    def _record(self, folder: int, parts: Parts, status: os.stat_result) -> None:
        path = "/".join(parts)
        if stat.S_ISREG(status.st_mode):
            self._record_file(folder, parts[-1], path, status)
        elif stat.S_ISLNK(status.st_mode):
            self.entries[path] = SnapshotEntry(
                "link", 0o777, *choose_owner(status), _read_target(folder, parts[-1], path)
            )
        else:
            self._leave_out(path, "neither a file nor a folder nor a link")

    def _record_file(self, folder: int, name: str, path: str, status: os.stat_result) -> None:
        earlier = self._known.get(path)
        if earlier and earlier.mark == make_mark(status) and self._incoming.has(earlier.object):
            self.entries[path] = earlier
            return
        self._course.count_file()
        started = time.time_ns()
        with _open_file(folder, name, path) as source:
            taken = self._incoming.store(source, self._course.advance)
        if taken.status is None:
            self._leave_out(path, "changed whenever it was read; taken as it was read last")
        entry = SnapshotEntry("file", taken.mode, taken.uid, taken.gid, taken.digest, taken.size)
        if taken.status and _is_settled(taken.status, started):
            _, mtime, ctime, inode = make_mark(taken.status)
            entry = entry._replace(mtime=mtime, ctime=ctime, inode=inode)
        self.entries[path] = entry

    def _leave_out(self, path: str, why: str) -> None:
        self.left_out.append(f"{make_printable(path)}: {why}")


def _is_settled(status: os.stat_result, started: int) -> bool:
    """Whether any later change will have another time: a change within a tick of the clock has the same."""
    tick = _TICK if status.st_ctime_ns % 1_000_000_000 else _COARSE_TICK
    return status.st_ctime_ns < started - tick


@contextmanager
def open_root(root: Path) -> Iterator[int]:
    """Open an app's folder."""
    folder = os.open(root, _FOLDER)
    try:
        yield folder
    finally:
        os.close(folder)


@contextmanager
def _open_folder(root: int, parts: Parts) -> Iterator[int]:
    """Open a folder beneath another."""
    folder = os.open(".", _FOLDER, dir_fd=root)
    try:
        for part in parts:
            inside = _open_step(folder, part, "/".join(parts), _FOLDER)
            os.close(folder)
            folder = inside
        yield folder
    finally:
        os.close(folder)


@contextmanager
def _open_file(folder: int, name: str, path: str) -> Iterator[int]:
    source = _open_step(folder, name, path)
    try:
        yield source
    finally:
        os.close(source)


def _open_step(folder: int, name: str, path: str, flags: int | None = None) -> int:
    """Open what stands there: a file where no flags are given."""
    try:
        return open_file(name, dir_fd=folder) if flags is None else os.open(name, flags, dir_fd=folder)
    except FileNotFoundError:
        raise _Gone from None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO):
            raise _make_swapped_error(path) from None
        raise


def _read_status(folder: int, name: str) -> os.stat_result:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        raise _Gone from None


def _read_target(folder: int, name: str, path: str) -> str:
    try:
        return os.readlink(name, dir_fd=folder)
    except FileNotFoundError:
        raise _Gone from None
    except OSError as error:
        if error.errno == errno.EINVAL:
            raise _make_swapped_error(path) from None
        raise


def _make_swapped_error(path: str) -> PathOutside:
    return PathOutside(f"{quote_name(path)} is not what it was a moment ago.")
