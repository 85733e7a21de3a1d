"""The contents of an app's snapshots: each file once under `.ikoma/objects`, by its SHA-256, mode and owner.

An object's name is a promise of its content. Files are written aside, flushed together, and get their names only
then: whatever has a name is whole, also after a power cut. Releases hold objects by hard links, so that nothing here
ever opens an object for writing or changes its mode. Everybody who calls holds the app's lock.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import itertools
import os
import secrets
import shutil
from collections.abc import Callable, Collection, Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ikoma.app_folder import list_folder
from ikoma.durable import sync_filesystem, sync_folder, translate_disk_full

_PIECE = 1 << 20
_TRIES = 3
_FEW = 32
"""So many new objects are flushed one by one; more are flushed with all the filesystem."""
_INCOMING = "incoming-"
_CLONE = 0x40049409
"""FICLONE, see ioctl_ficlone(2)."""
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

Passed = Callable[[int], None]
"""Called with each number of bytes that has been read."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file's content as it was kept. `status` is None where it never stood still while it was read."""

    digest: str
    size: int
    mode: int
    uid: int
    gid: int
    status: os.stat_result | None


def name_object(digest: str, mode: int, uid: int, gid: int) -> str:
    """Hard links share mode and owner: what differs in them is another object."""
    return f"{digest}-{mode:o}-{uid}-{gid}"


def choose_owner(status: os.stat_result) -> tuple[int, int]:
    """Choose the owner that IKOMA can give to a copy: only root can give it to others."""
    return (status.st_uid, status.st_gid) if os.geteuid() == 0 else (os.geteuid(), os.getegid())


class ObjectStore:
    """The objects of one app. The folder is made when the first is taken."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find_path(self, name: str) -> str:
        return f"{self._folder}/{name[:2]}/{name[2:]}"

    def list_names(self) -> set[str]:
        """List the names of all objects."""
        found: set[str] = set()
        for shelf in self._list_shelves():
            first = shelf.name
            with os.scandir(shelf) as entries:
                found.update([first + entry.name for entry in entries])
        return found

    @contextmanager
    def receive(self) -> Iterator[IncomingObjects]:
        """A way in for new objects. They have their names when the block ends well; otherwise none was taken."""
        self._sweep()
        aside = self._folder / f"{_INCOMING}{secrets.token_hex(6)}"
        with translate_disk_full():
            self._folder.mkdir(mode=0o700, exist_ok=True)
            aside.mkdir(mode=0o700)
            try:
                incoming = IncomingObjects(aside, self.list_names())
                yield incoming
                self._shelve(aside, incoming.new)
            finally:
                shutil.rmtree(aside)

    def link(self, name: str, place: str) -> None:
        """Make the object appear at a place; by a copy where the filesystem takes no more links to it."""
        try:
            os.link(self.find_path(name), place)
        except OSError as error:
            if error.errno != errno.EMLINK:
                raise
            self.copy(name, place, lambda _: None)

    def copy(self, name: str, place: str, passed: Passed) -> None:
        """A file of its own with the object's content, mode, owner and time."""
        source = os.open(self.find_path(name), _READ)
        try:
            target = os.open(place, _CREATE, 0o600)
            try:
                status = os.fstat(source)
                if not _clone(source, target):
                    _copy_content(source, target, status, passed)
                _apply_metadata(target, status)
            finally:
                os.close(target)
        finally:
            os.close(source)

    def find_fault(self, name: str, size: int, passed: Passed) -> str | None:
        """Find what is wrong with an object, or None."""
        try:
            source = os.open(self.find_path(name), _READ)
        except FileNotFoundError:
            return "is missing"
        try:
            status = os.fstat(source)
            if status.st_size != size:
                return f"has {status.st_size} bytes instead of {size}"
            digest, _ = _copy_content(source, None, status, passed)
        except OSError as error:  # a disk that fails is what one looks for
            return f"can't be read: {os.strerror(error.errno or 0)}"
        finally:
            os.close(source)
        is_same = name == name_object(digest, status.st_mode & 0o7777, *choose_owner(status))
        return None if is_same else "is not what it was"

    def remove_all_but(self, named: Collection[str]) -> int:
        """Remove the objects that have none of these names, and what killed processes left; how many bytes it freed."""
        self._sweep()
        freed = 0
        for name in self.list_names().difference(named):
            status = os.lstat(self.find_path(name))
            freed += status.st_blocks * 512 if status.st_nlink == 1 else 0
            os.unlink(self.find_path(name))
        return freed

    def _shelve(self, aside: Path, new: dict[str, str]) -> None:
        """First the contents are made to last, then they get names, then the names are made to last."""
        is_few = len(new) <= _FEW
        for file in new.values() if is_few else ():
            _flush(aside / file)
        if not is_few:
            sync_filesystem(aside)
        shelves = [self._folder / first for first in {name[:2] for name in new}]
        for shelf in shelves:
            shelf.mkdir(mode=0o700, exist_ok=True)
        for name, file in new.items():
            os.rename(f"{aside}/{file}", self.find_path(name))
        for folder in (*shelves, self._folder, self._folder.parent) if is_few else ():
            sync_folder(folder)
        if not is_few:
            sync_filesystem(self._folder)

    def _sweep(self) -> None:
        for leftover in self._folder.glob(f"{_INCOMING}*"):
            shutil.rmtree(leftover)

    def _list_shelves(self) -> list[Path]:
        return [shelf for shelf in list_folder(self._folder) if len(shelf.name) == 2]


class IncomingObjects:
    """Files on their way to become objects. May be used from several threads."""

    def __init__(self, aside: Path, known: Set[str]) -> None:
        self._aside = aside
        self._known = known
        self.new: dict[str, str] = {}
        """The names that will be given: object to file."""
        self._numbers = itertools.count()
        self._clones = True

    def has(self, name: str) -> bool:
        return name in self._known or name in self.new

    def store(self, source: int, passed: Passed) -> StoredFile:
        """Keep the content of an open file. One that changes while it is read is read again, up to three times."""
        for number in range(_TRIES):
            if number:
                os.lseek(source, 0, os.SEEK_SET)
            before = os.fstat(source)
            digest, size = self._store_content(source, before, passed)
            after = os.fstat(source)
            is_steady = make_mark(before) == make_mark(after)
            if is_steady:
                break
        return StoredFile(digest, size, before.st_mode & 0o777, *choose_owner(before), before if is_steady else None)

    def _store_content(self, source: int, status: os.stat_result, passed: Passed) -> tuple[str, int]:
        """Digest and size of what was kept: what was read, up to the size that the file had."""
        if self._clones and (cloned := self._try_clone(source, status, passed)):
            return cloned
        if status.st_size > _PIECE:
            with self._make_file() as (file, target):
                return self._keep(file, target, status, _copy_content(source, target, status, passed))
        content = b"".join(_read_pieces(source, status.st_size, passed))
        read = hashlib.sha256(content).hexdigest(), len(content)
        if not self.has(_name_stored(read[0], status)):
            with self._make_file() as (file, target):
                _write(target, content, 0)
                self._keep(file, target, status, read)
        return read

    def _try_clone(self, source: int, status: os.stat_result, passed: Passed) -> tuple[str, int] | None:
        """Clone a file; None where the filesystem can't. A clone is of one moment, and costs no space while it is the
        same.
        """
        with self._make_file() as (file, target):
            self._clones = _clone(source, target)
            if not self._clones:
                os.unlink(f"{self._aside}/{file}")
                return None
            return self._keep(file, target, status, _copy_content(target, None, os.fstat(target), passed))

    def _keep(self, file: str, target: int, status: os.stat_result, read: tuple[str, int]) -> tuple[str, int]:
        name = _name_stored(read[0], status)
        if name in self._known or self.new.setdefault(name, file) != file:
            os.unlink(f"{self._aside}/{file}")
        else:
            _apply_metadata(target, status)
        return read

    @contextmanager
    def _make_file(self) -> Iterator[tuple[str, int]]:
        file = str(next(self._numbers))
        target = os.open(f"{self._aside}/{file}", _CREATE, 0o600)
        try:
            yield file, target
        finally:
            os.close(target)


def make_mark(status: os.stat_result) -> tuple[int, int, int, int]:
    """Make a mark that is another as soon as a file's content, mode or owner is."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _name_stored(digest: str, status: os.stat_result) -> str:
    return name_object(digest, status.st_mode & 0o777, *choose_owner(status))


def _clone(source: int, target: int) -> bool:
    """Share the blocks of a file, where the filesystem can."""
    try:
        fcntl.ioctl(target, _CLONE, source)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise
        return False
    return True


def _copy_content(source: int, target: int | None, status: os.stat_result, passed: Passed) -> tuple[str, int]:
    """Digest and size of what is read, and written to `target` where there is one; holes stay holes."""
    digest, size = hashlib.sha256(), 0
    has_holes = status.st_blocks * 512 < status.st_size
    for piece in _read_pieces(source, status.st_size, passed):
        digest.update(piece)
        size += len(piece)
        if target is not None and not (has_holes and piece == bytes(len(piece))):
            _write(target, piece, size - len(piece))
    if target is not None:
        os.ftruncate(target, size)
    return digest.hexdigest(), size


def _read_pieces(source: int, size: int, passed: Passed) -> Iterator[bytes]:
    """Read at most so many bytes: a file that grows for ever is read up to where it was."""
    while size and (piece := os.read(source, min(size, _PIECE))):
        passed(len(piece))
        size -= len(piece)
        yield piece


def _write(target: int, piece: bytes, offset: int) -> None:
    left = memoryview(piece)
    while left:
        written = os.pwrite(target, left, offset)
        left, offset = left[written:], offset + written


def _apply_metadata(target: int, status: os.stat_result) -> None:
    """Give a new file what it has besides its content; never one that is an object already."""
    os.fchown(target, *choose_owner(status))
    os.fchmod(target, status.st_mode & 0o777)
    os.utime(target, ns=(status.st_mtime_ns, status.st_mtime_ns))


def _flush(file: Path) -> None:
    descriptor = os.open(file, _READ)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
