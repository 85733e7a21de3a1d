"""The only way a file is written: a temporary file in the same folder, fsync, rename, fsync of the folder.

A reader sees the old file or the new one, never a half. A temporary file is flocked while its writer lives, so
that `sweep` can tell the leftovers of a killed process from work in progress and removes only the former.
Modes are exact: the umask of the server closes what it does not open itself.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from ikoma.errors import DiskFull

_PREFIX = ".ikoma-writing-"
_FULL = (errno.ENOSPC, errno.EDQUOT)
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def write_file(path: Path, content: bytes | str, *, mode: int = 0o644) -> None:
    """Put `content` at `path`, replacing what was there, whole or not at all."""
    with open_whole_file(path, mode=mode) as stream:
        stream.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def open_whole_file(path: Path, *, mode: int = 0o644, replace: bool = True) -> Iterator[BinaryIO]:
    """A stream whose content appears at `path` when the block ends well, and nowhere otherwise.

    Args:
        path: where the file goes; its folder must exist.
        mode: permissions, set before the first byte.
        replace: False to raise FileExistsError where `path` exists by then.
    """
    temporary = path.with_name(f"{_PREFIX}{secrets.token_hex(6)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    except OSError as error:
        raise _translate(error) from error
    try:
        with os.fdopen(descriptor, "wb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.fchmod(stream.fileno(), mode)
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
            if replace:
                os.rename(temporary, path)
            else:
                os.link(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise _translate(error) from error
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)


def make_folder(path: Path, mode: int) -> bool:
    """Make a folder with exactly this mode, whatever the umask; whether it was made. One that exists stays as it is."""
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        if path.is_dir():
            return False
        raise
    path.chmod(mode)
    return True


def write_at(folder: int, name: str, content: bytes, *, mode: int) -> None:
    """Write like `write_file`, for a name in a folder that is open: what its path leads to does not matter."""
    with open_whole_file_at(folder, name, mode=mode) as stream:
        stream.write(content)


@contextmanager
def open_whole_file_at(folder: int, name: str, *, mode: int) -> Iterator[BinaryIO]:
    """A stream whose content appears under a name in an open folder when the block ends well, and nowhere otherwise."""
    temporary = f"{_PREFIX}{secrets.token_hex(6)}"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode, dir_fd=folder)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.fchmod(stream.fileno(), mode)
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
                os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=folder)
    except OSError as error:
        raise _translate(error) from error


def open_file(name: str | Path, *, dir_fd: int | None = None) -> int:
    """A regular file, open for reading; OSError for a link (ELOOP) and for anything else (ENXIO).

    What else a container may have put there is not even opened: with a device, that alone can have effects.
    """
    place = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        mode = os.fstat(place).st_mode
        if not stat.S_ISREG(mode):
            raise OSError(errno.ELOOP if stat.S_ISLNK(mode) else errno.ENXIO, "not a file", str(name))
        return os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(place)


def sweep_at(folder: int) -> list[str]:
    """Remove what killed processes left half-written in an open folder; those still being written stay.

    A container may have put anything there by such a name: what is no file neither holds this up nor ends it.
    """
    removed = []
    for name in os.listdir(folder):
        if name.startswith(_PREFIX):
            with suppress(OSError):
                descriptor = open_file(name, dir_fd=folder)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(name, dir_fd=folder)
                    removed.append(name)
                finally:
                    os.close(descriptor)
    return removed


def remove_tree(name: str | Path, *, dir_fd: int | None = None) -> None:
    """Remove a folder and all in it, however deep: what lies deeper is first moved up, so nothing is held open."""
    top = os.open(name, _DIRECTORY, dir_fd=dir_fd)
    try:
        while folders := _empty(top):
            for folder in folders:
                inside = os.open(folder, _DIRECTORY, dir_fd=top)
                try:
                    for deeper in _empty(inside):
                        os.rename(deeper, f"{_PREFIX}{secrets.token_hex(12)}", src_dir_fd=inside, dst_dir_fd=top)
                finally:
                    os.close(inside)
                os.rmdir(folder, dir_fd=top)
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=dir_fd)


def _empty(folder: int) -> list[str]:
    """The folders in an open folder, once all else in it is removed."""
    with os.scandir(folder) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_folder in found:
        if not is_folder:
            os.unlink(name, dir_fd=folder)
    return [name for name, is_folder in found if is_folder]


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_filesystem(folder: Path) -> None:
    """Make everything that was written to the filesystem of `folder` survive a power cut, whoever wrote it.

    For thousands of new files this is many times faster than to flush each; for a few it is slower.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
            code = ctypes.get_errno()
            raise _translate(OSError(code, os.strerror(code), str(folder)))
    finally:
        os.close(descriptor)


@contextmanager
def translate_disk_full() -> Iterator[None]:
    """Raise DiskFull where the block finds no space left."""
    try:
        yield
    except OSError as error:
        raise _translate(error) from error


def sweep(folder: Path) -> list[Path]:
    """Remove the temporary files that killed processes left in `folder`; those still being written stay."""
    descriptor = os.open(folder, _DIRECTORY)
    try:
        return [folder / name for name in sweep_at(descriptor)]
    finally:
        os.close(descriptor)


def is_disk_full(error: OSError) -> bool:
    """Whether it says that a disk, or somebody's part of it, is full."""
    if isinstance(error, shutil.Error):  # of a whole tree: it has no number, but texts
        return any(os.strerror(code) in str(error) for code in _FULL)
    return error.errno in _FULL


def _translate(error: OSError) -> Exception:
    return DiskFull() if is_disk_full(error) else error
