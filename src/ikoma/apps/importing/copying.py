"""Copies the folder of a Compose project: files with their owners, modes and times, links as they are, hard ones too.

The folder can be anybody's, who may change it meanwhile: nothing is opened through a link, so all that is copied lies
in it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from ikoma.durable import sync_filesystem, translate_disk_full

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MOST = 1 << 30


@dataclass(slots=True)
class CopyWork:
    """One copying: `root` is the open folder that paths are relative to."""

    root: int
    without: frozenset[str] = frozenset()
    left: list[str] = field(default_factory=list)
    copied: int = 0
    """Bytes of the files that were written."""
    _links: dict[tuple[int, int], str] = field(default_factory=dict)

    def find_link(self, found: os.stat_result, path: str) -> str | None:
        """Find the place that the file was copied to by another of its names; else note it by this one."""
        if found.st_nlink < 2:
            return None
        first = self._links.setdefault((found.st_dev, found.st_ino), path)
        return first if first != path else None


def copy_folder(source: Path, target: Path, *, without: Collection[str] = ()) -> list[str]:
    """Copy what is in a folder into another, which is there; what was neither file, folder nor link, and is not copied.

    Args:
        without: paths in the folder that are left out.
    """
    with translate_disk_full():
        above, below = os.open(source, DIRECTORY), os.open(target, DIRECTORY)
        work = CopyWork(below, frozenset(without))
        try:
            _copy_all(above, below, "", work)
        finally:
            os.close(above)
            os.close(below)
        sync_filesystem(target)
    return work.left


def measure(folder: Path) -> int:
    """Bytes of all files in a folder; of one that cannot be seen, 0."""
    found = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                found += os.lstat(os.path.join(path, name)).st_size  # noqa: PTH118  # names may be no text
            except OSError:
                continue
    return found


def copy_entry(above: int, below: int, name: str, path: str, work: CopyWork) -> None:
    """Copy one entry of the open folder `above` into `below`, where nothing has its name; `path` leads to it."""
    found = os.stat(name, dir_fd=above, follow_symlinks=False)
    if stat.S_ISLNK(found.st_mode):
        os.symlink(os.readlink(name, dir_fd=above), name, dir_fd=below)
        os.chown(name, found.st_uid, found.st_gid, dir_fd=below, follow_symlinks=False)
    elif stat.S_ISDIR(found.st_mode):
        source = os.open(name, DIRECTORY, dir_fd=above)
        try:
            os.mkdir(name, 0o700, dir_fd=below)
            target = os.open(name, DIRECTORY, dir_fd=below)
            try:
                _copy_all(source, target, f"{path}/", work)
                make_alike(target, found)
            finally:
                os.close(target)
        finally:
            os.close(source)
    elif stat.S_ISREG(found.st_mode):
        if (first := work.find_link(found, path)) is not None:
            os.link(first, name, src_dir_fd=work.root, dst_dir_fd=below, follow_symlinks=False)
        else:
            work.copied += _copy_file(above, below, name)
    else:
        work.left.append(path)


def make_alike(target: int, found: os.stat_result) -> None:
    """Give an open file or folder the owner, mode and times of another."""
    os.fchown(target, found.st_uid, found.st_gid)
    os.fchmod(target, stat.S_IMODE(found.st_mode))
    os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))


def _copy_all(above: int, below: int, prefix: str, work: CopyWork) -> None:
    for name in sorted(os.listdir(above)):
        path = f"{prefix}{name}"
        if path not in work.without:
            copy_entry(above, below, name, path, work)


def _copy_file(above: int, below: int, name: str) -> int:
    """Copy a file; its bytes."""
    source = os.open(name, _READ, dir_fd=above)
    try:
        found = os.fstat(source)
        if not stat.S_ISREG(found.st_mode):
            return 0
        target = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=below)
        try:
            done = 0
            while sent := os.sendfile(target, source, done, _MOST):
                done += sent
            make_alike(target, found)
            return done
        finally:
            os.close(target)
    finally:
        os.close(source)
