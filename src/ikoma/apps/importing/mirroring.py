"""Makes a file or folder like another, and later again by what has changed since: so the second time is short.

The second time, a file is left as it is only if nobody has touched either side since the first. Size and time of
writing can be set by any program; the time of change, which the kernel alone sets, must say so too. As in copying,
nothing is opened through a link.
"""

from __future__ import annotations

import os
import stat
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ikoma.apps.importing.copying import DIRECTORY, CopyWork, copy_entry, make_alike
from ikoma.durable import remove_tree, sync_filesystem, translate_disk_full

_GRAIN = 1_000_000_000
"""Nanoseconds by which a file's time of change may lie before the moment that a clock tells."""


@dataclass(frozen=True, slots=True)
class Mirrored:
    """A mirroring that is done: when it began and ended, in nanoseconds, and the bytes of the files that it wrote."""

    began: int
    ended: int
    copied: int


def mirror(source: Path, target: Path, former: Mirrored | None = None) -> Mirrored:
    """Make `target` like `source`, of the same name; where that is gone, it goes too.

    Args:
        former: the last time that this was done with the two; without it, every file is copied.

    Raises:
        DiskFull
    """
    began = time.time_ns()
    target.parent.mkdir(parents=True, exist_ok=True)
    with translate_disk_full():
        above, below = os.open(source.parent, DIRECTORY), os.open(target.parent, DIRECTORY)
        work = CopyWork(below)
        try:
            _mirror_entry(above, below, source.name, source.name, work, former)
        finally:
            os.close(above)
            os.close(below)
        sync_filesystem(target.parent)
    return Mirrored(began, time.time_ns(), work.copied)


def _mirror_entry(above: int, below: int, name: str, path: str, work: CopyWork, former: Mirrored | None) -> None:
    found, there = _look(above, name), _look(below, name)
    if found is not None and there is not None:
        if stat.S_ISDIR(found.st_mode) and stat.S_ISDIR(there.st_mode):
            _mirror_folder(above, below, name, path, work, former)
            return
        if former is not None and _is_untouched(found, there, former):
            work.find_link(found, path)
            return
    if there is not None:
        remove_tree(name, dir_fd=below) if stat.S_ISDIR(there.st_mode) else os.unlink(name, dir_fd=below)
    if found is not None:
        copy_entry(above, below, name, path, work)


def _mirror_folder(above: int, below: int, name: str, path: str, work: CopyWork, former: Mirrored | None) -> None:
    source = os.open(name, DIRECTORY, dir_fd=above)
    try:
        target = os.open(name, DIRECTORY, dir_fd=below)
        try:
            for entry in sorted(_list_names(source) | _list_names(target)):
                _mirror_entry(source, target, entry, f"{path}/{entry}", work, former)
            make_alike(target, os.fstat(source))
        finally:
            os.close(target)
    finally:
        os.close(source)


def _list_names(folder: int) -> set[str]:
    return set(os.listdir(folder))


def _look(folder: int, name: str) -> os.stat_result | None:
    with suppress(FileNotFoundError):
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    return None


def _is_untouched(found: os.stat_result, there: os.stat_result, former: Mirrored) -> bool:
    return (
        _describe(found) == _describe(there)
        and found.st_ctime_ns < former.began - _GRAIN
        and there.st_ctime_ns <= former.ended
    )


def _describe(found: os.stat_result) -> tuple[int, ...]:
    return found.st_mode, found.st_uid, found.st_gid, found.st_size, found.st_mtime_ns
