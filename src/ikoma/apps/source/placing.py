"""Brings a folder to what a checkout holds, file by file, without losing what others put there.

Three things are compared for each path: what was checked out before, what is there, and what comes. Only what is as it
was checked out is replaced; whatever else has to go is moved aside and kept. In folders that containers write, what
they made stays. Each step goes from the folder before it, and never through a link that somebody put there meanwhile.
"""

from __future__ import annotations

import errno
import hashlib
import os
import posixpath
import secrets
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from ikoma.apps.source.git import DEEPEST
from ikoma.durable import open_file, write_at

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_FOLDER = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


@dataclass(frozen=True, slots=True)
class CheckoutFiles:
    """Paths relative to a folder → digests: what was checked out there before, and what comes.

    Args:
        data: folders in it that containers write, "" for all of it: what is in them and was not checked out stays.
        alone: whether nothing else may be in the folder but what is checked out, and data.
    """

    before: Mapping[str, str]
    coming: Mapping[str, str]
    data: Sequence[str] = ()
    alone: bool = False


@dataclass(slots=True)
class CheckoutDifferences:
    """Differences that a checkout meets in a folder.

    `clear` are paths that must go, with the digest of what may be thrown away; None where it is to be kept.
    """

    clear: dict[str, str | None] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    """Paths at which somebody put something else."""
    left: list[str] = field(default_factory=list)
    """Paths in data that stay as containers made them."""
    present: set[str] = field(default_factory=set)
    """Paths that are already as they shall be."""


def compare(folder: Path, checkout: CheckoutFiles) -> CheckoutDifferences:
    """Look at a folder; nothing is changed."""
    found = CheckoutDifferences()
    for path in sorted({*checkout.before, *checkout.coming}):
        is_data = _touches(path, checkout.data)
        if any(place.startswith(f"{path}/") for place in checkout.data):  # a file where containers have a folder
            found.left.append(path)
            continue
        there, blocked = _examine(folder, path)
        if blocked is not None:
            if blocked not in checkout.before:
                _compare_path(found, blocked, is_data, path)
            continue
        before, coming = checkout.before.get(path), checkout.coming.get(path)
        if there == coming:
            found.present.add(path)
        elif there == before or (there is None and is_data and before is None):
            if there is not None:
                found.clear[path] = there
        elif (there is None and before is None) or _is_checked_out(folder, path, checkout.before):
            continue
        else:
            _compare_path(found, path, is_data, path)
    if checkout.alone and "" not in checkout.data:
        _find_others(folder, "", checkout, found)
    return found


def place(folder: Path, staged: Path, differences: Mapping[str, str | None], aside: Path, keep: Sequence[str]) -> bool:
    """Clear what must go and put what is staged; again after a kill with the same result. Whether something was kept.

    Args:
        aside: where what is not thrown away goes.
        keep: folders that stay, also where nothing is left in them.
    """
    has_kept = False
    coming = set(list_files(staged))
    with _open_folder(folder) as base, _open_folder(staged) as source:
        for path, known in sorted(differences.items(), reverse=True):  # what is inside goes first
            if path not in coming:
                has_kept |= _clear(base, path, known, aside)
                _remove_empty(base, path, keep)
        for path in sorted(coming):
            with _open_parent(source, path) as (here, name), _open_parent(base, path, make=True) as (there, _):
                if here is None or there is None:
                    raise OSError(errno.ENOTDIR, "is no folder", path)
                has_kept |= _clear(base, path, differences.get(path), aside)
                _move(here, there, name)
        os.fsync(base)
    return has_kept


def list_files(folder: Path) -> Iterator[str]:
    """List every file and link in a folder and below, relative to it."""
    for where, folders, names in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(where, name))]  # noqa: PTH114, PTH118 - hot
        for name in (*names, *links):
            yield os.path.relpath(os.path.join(where, name), folder)  # noqa: PTH118


def compute_digests(folder: Path) -> dict[str, str]:
    """Compute the digest of every file and link in a folder and below: path → digest."""
    return {path: compute_digest(folder / path) or "" for path in list_files(folder)}


def compute_digest(entry: Path, depth: int = 0) -> str | None:
    """Tells whether a file, link or folder is the same, name by name and byte by byte; None where it is not there.

    What lies deeper than any source may is not looked at: that it is there makes the difference.
    """
    try:
        status = entry.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    found = hashlib.sha256()
    if stat.S_ISLNK(status.st_mode):
        found.update(b"link" + os.fsencode(entry.readlink()))
    elif stat.S_ISDIR(status.st_mode) and depth > DEEPEST:
        found.update(b"deeper")
    elif stat.S_ISDIR(status.st_mode):
        for inside in sorted(entry.iterdir()):
            found.update(f"{inside.name}\0{compute_digest(inside, depth + 1)}\n".encode("utf-8", "surrogateescape"))
    elif stat.S_ISREG(status.st_mode):
        try:
            with os.fdopen(open_file(entry), "rb") as file:
                found.update(hashlib.file_digest(file, "sha256").digest() + bytes([status.st_mode & 0o100 > 0]))
        except OSError:
            found.update(b"not what it was a moment ago")
    return found.hexdigest()


def _is_checked_out(folder: Path, path: str, before: Mapping[str, str]) -> bool:
    """Whether this is a folder in which nothing is but what was checked out: it goes with that."""
    place = folder / path
    if place.is_symlink() or not place.is_dir():
        return False
    return all(before.get(f"{path}/{inside}") == mark for inside, mark in compute_digests(place).items())


def _compare_path(found: CheckoutDifferences, path: str, is_data: bool, wanted: str) -> None:
    if is_data:
        found.left.append(wanted)
    elif path not in found.clear:
        found.clear[path] = None
        found.changed.append(path)


def _examine(folder: Path, path: str) -> tuple[str | None, str | None]:
    """The digest of what is at a path; and the step above it that is something else than a folder."""
    steps = path.split("/")
    for count in range(1, len(steps)):
        above = "/".join(steps[:count])
        try:
            mode = (folder / above).lstat().st_mode
        except FileNotFoundError:
            return None, None
        if not stat.S_ISDIR(mode):
            return None, above
    return compute_digest(folder / path), None


def _find_others(folder: Path, inside: str, checkout: CheckoutFiles, found: CheckoutDifferences) -> None:
    """Find what was never checked out, by its outermost folder in which nothing else is."""
    place = folder / inside
    for entry in sorted(place.iterdir()) if place.is_dir() and not place.is_symlink() else ():
        path = f"{inside}/{entry.name}" if inside else entry.name
        if path in checkout.data or path in checkout.before or path in checkout.coming:
            continue
        held = (*checkout.data, *checkout.before, *checkout.coming)
        if any(other.startswith(f"{path}/") for other in held) and (folder / path).is_dir():
            _find_others(folder, path, checkout, found)
        elif path not in found.clear:
            found.clear[path] = None
            found.changed.append(path)


def _clear(base: int, path: str, known: str | None, aside: Path) -> bool:
    """Move what is at a path aside, and throw it away if it is what was checked out; whether it was kept."""
    with _open_parent(base, path) as (there, name):
        if there is None:
            return False
        kept = aside / f"{path}-{secrets.token_hex(2)}"
        try:
            os.lstat(name, dir_fd=there)
        except FileNotFoundError:
            return False
        kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            os.rename(name, kept, src_dir_fd=there)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            os.rename(name, f"{name}.{kept.name}", src_dir_fd=there, dst_dir_fd=there)  # on a disk of its own
            return True
    if known is None or compute_digest(kept) != known:
        return True
    kept.unlink()
    for folder in kept.parents:
        if folder == aside.parent:
            break
        with suppress(OSError):
            folder.rmdir()
    return False


def _remove_empty(base: int, path: str, keep: Sequence[str]) -> None:
    """Folders in which nothing is left were of the checkout alone."""
    above = posixpath.dirname(path)
    while above and above not in keep:
        with _open_parent(base, above) as (there, name):
            try:
                if there is not None:
                    os.rmdir(name, dir_fd=there)
            except OSError:
                return
        above = posixpath.dirname(above)


@contextmanager
def _open_folder(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _open_parent(base: int, path: str, *, make: bool = False) -> Iterator[tuple[int | None, str]]:
    """Open the folder of a path, each step from the one before it, and the last step; None where there is none."""
    steps = path.split("/")
    folder: int | None = os.dup(base)
    try:
        for step in steps[:-1]:
            assert folder is not None
            is_new = make and _make_folder(step, folder)
            try:
                inside = os.open(step, _DIRECTORY, dir_fd=folder)
            except OSError as error:
                if error.errno not in _NO_FOLDER:
                    raise
                os.close(folder)
                folder = None
                break
            if is_new:
                os.fchmod(inside, 0o755)
            os.close(folder)
            folder = inside
        yield folder, steps[-1]
    finally:
        if folder is not None:
            os.close(folder)


def _make_folder(name: str, folder: int) -> bool:
    try:
        os.mkdir(name, 0o700, dir_fd=folder)
    except FileExistsError:
        return False
    return True


def _move(here: int, there: int, name: str) -> None:
    """Put a staged file or link; also where a disk of its own is mounted."""
    try:
        os.rename(name, name, src_dir_fd=here, dst_dir_fd=there)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        status = os.lstat(name, dir_fd=here)
        if stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(name, dir_fd=here), name, dir_fd=there)
        else:
            with os.fdopen(open_file(name, dir_fd=here), "rb") as file:
                write_at(there, name, file.read(), mode=stat.S_IMODE(status.st_mode))
        os.unlink(name, dir_fd=here)


def _touches(path: str, folders: Sequence[str]) -> bool:
    return any(not folder or path == folder or path.startswith(f"{folder}/") for folder in folders)
