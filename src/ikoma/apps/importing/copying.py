"""Copies the folder of a Compose project: files with their owners, modes and times, links as they are.

The folder can be anybody's, who may change it meanwhile: nothing is opened through a link, so all that is copied lies
in it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Sequence
from pathlib import Path

from ikoma.durable import remove_tree, sync_filesystem, translate_disk_full

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MOST = 1 << 30


def copy_folder(source: Path, target: Path, *, without: Collection[str] = ()) -> list[str]:
    """Copy what is in a folder into another, which is there; what was neither file, folder nor link, and is not copied.

    Args:
        without: paths in the folder that are left out.
    """
    left: list[str] = []
    with translate_disk_full():
        above, below = os.open(source, _DIRECTORY), os.open(target, _DIRECTORY)
        try:
            _copy_all(above, below, "", frozenset(without), left)
        finally:
            os.close(above)
            os.close(below)
        sync_filesystem(target)
    return left


def copy_again(source: Path, target: Path, paths: Sequence[str]) -> None:
    """Copy some files and folders of a folder anew, in place of what the other has there."""
    for path in paths:
        place = target / path
        if place.is_dir() and not place.is_symlink():
            remove_tree(place)
        else:
            place.unlink(missing_ok=True)
        if not os.path.lexists(source / path):
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        with translate_disk_full():
            above, below = os.open((source / path).parent, _DIRECTORY), os.open(place.parent, _DIRECTORY)
            try:
                _copy_one(above, below, place.name, place.name, frozenset(), [])
            finally:
                os.close(above)
                os.close(below)
    sync_filesystem(target)


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


def _copy_all(above: int, below: int, prefix: str, without: frozenset[str], left: list[str]) -> None:
    for name in sorted(os.listdir(above)):
        path = f"{prefix}{name}"
        if path not in without:
            _copy_one(above, below, name, path, without, left)


def _copy_one(above: int, below: int, name: str, path: str, without: frozenset[str], left: list[str]) -> None:
    found = os.stat(name, dir_fd=above, follow_symlinks=False)
    if stat.S_ISLNK(found.st_mode):
        os.symlink(os.readlink(name, dir_fd=above), name, dir_fd=below)
        os.chown(name, found.st_uid, found.st_gid, dir_fd=below, follow_symlinks=False)
    elif stat.S_ISDIR(found.st_mode):
        source = os.open(name, _DIRECTORY, dir_fd=above)
        try:
            os.mkdir(name, 0o700, dir_fd=below)
            target = os.open(name, _DIRECTORY, dir_fd=below)
            try:
                _copy_all(source, target, f"{path}/", without, left)
                _make_alike(target, found)
            finally:
                os.close(target)
        finally:
            os.close(source)
    elif stat.S_ISREG(found.st_mode):
        _copy_file(above, below, name)
    else:
        left.append(path)


def _copy_file(above: int, below: int, name: str) -> None:
    source = os.open(name, _READ, dir_fd=above)
    try:
        found = os.fstat(source)
        if not stat.S_ISREG(found.st_mode):
            return
        target = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=below)
        try:
            done = 0
            while sent := os.sendfile(target, source, done, _MOST):
                done += sent
            _make_alike(target, found)
        finally:
            os.close(target)
    finally:
        os.close(source)


def _make_alike(target: int, found: os.stat_result) -> None:
    os.fchown(target, found.st_uid, found.st_gid)
    os.fchmod(target, stat.S_IMODE(found.st_mode))
    os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))
