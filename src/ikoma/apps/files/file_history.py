"""Earlier versions of an app's files, from before somebody overwrote or deleted them from outside; kept for thirty
days.

Each is a folder `.ikoma/history/MOMENT-PATH-RANDOM/`: `entry.json` says what it is, and beside it lies `kept`, the file
or folder itself. What is deleted is moved there in one step, and what is overwritten is linked there before, so that a
kill at any line leaves the one place or the other with all of it. An entry without `kept` was never finished.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ikoma.app_folder import App, list_folder
from ikoma.durable import open_file, remove_tree, sync_folder, write_file
from ikoma.errors import Next, VersionNotFound
from ikoma.model import FilePath, quote_name
from ikoma.moments import format_moment

KEPT_DAYS = 30
_MOST_VERSIONS = 100
"""The most versions of one path: who writes the same file without end fills no disk."""
_MOMENT = "%Y%m%dT%H%M%S%fZ"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class FileVersion:
    """A file, link or folder as it was. `at` is when that ended; `size` in bytes and `sha256` are of files."""

    version: str
    path: str
    kind: str
    happened: str
    """overwritten or deleted."""
    at: str
    size: int | None
    sha256: str | None


def keep_copy(app: App, folder: int, path: FilePath, *, prunes: bool = True) -> None:
    """Keep the file at a path that is about to be overwritten; nothing where there is none.

    Args:
        folder: the folder that holds it, open.
        prunes: False where the caller has let go of what is too old, once for many.
    """
    name = path.parts[-1]
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    with _make_entry(app, folder, path, status, "overwritten", prunes=prunes) as place:
        try:
            os.link(name, "kept", src_dir_fd=folder, dst_dir_fd=place, follow_symlinks=False)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EMLINK, errno.EPERM):
                raise
            _copy(folder, name, place, "kept", status)


def keep_moved(app: App, folder: int, path: FilePath) -> None:
    """Take what stands at a path away, and keep it."""
    status = os.stat(path.parts[-1], dir_fd=folder, follow_symlinks=False)
    with _make_entry(app, folder, path, status, "deleted") as place:
        _move(folder, path.parts[-1], place, "kept")


def list_versions(app: App, path: FilePath | None) -> list[FileVersion]:
    """List the kept versions of a path, or of all, the newest first."""
    found = []
    for entry in sorted(_list_entries(app), reverse=True):
        if (path is None or _make_mark(path) in entry.name) and (version := _read_version(entry)) is not None:
            found.append(version)
    return [version for version in found if path is None or version.path == path]


def put_back(app: App, path: FilePath, version: str | None, folder: int) -> FileVersion:
    """Put a version of a path back to its place; what stands there now is kept in its stead.

    Args:
        version: as `list_versions` names it; None is the newest.
        folder: the folder that the path is in, open.

    Raises:
        VersionNotFound: nothing, or no such version, is kept of the path.
    """
    prune(app)  # else the one that is chosen could go when what stands there now is kept
    known = list_versions(app, path)
    chosen = next((item for item in known if version in (None, item.version)), None)
    if chosen is None:
        kept = ", ".join(item.version for item in known[:5])
        hint = f"There is: {kept}." if kept else "files.history shows what is kept."
        about = {"path": str(path)} if known else {}  # it may have gone with its folder
        raise VersionNotFound(
            f"No such version of {quote_name(path)} is kept.", hint=hint, next=Next("files.history", about)
        )
    entry = app.state / "history" / chosen.version
    if chosen.kind == "folder" or _is_folder(folder, path):
        with suppress(FileNotFoundError):
            keep_moved(app, folder, path)
    else:
        keep_copy(app, folder, path)
    place = os.open(entry, _DIRECTORY)
    try:
        _move(place, "kept", folder, path.parts[-1])
    finally:
        os.close(place)
    remove_tree(entry)
    return chosen


def prune(app: App, *, now: datetime | None = None, unfinished: bool = True) -> int:
    """Let go of what is older than thirty days, of what a kill left unfinished, and of too many versions of one path.

    Args:
        unfinished: false for who does not hold the app's lock: what has no file yet may be about to get it.

    Returns:
        How many entries went.
    """
    oldest = ((now or datetime.now(UTC)) - timedelta(days=KEPT_DAYS)).strftime(_MOMENT)
    seen: Counter[str] = Counter()
    gone = 0
    for entry in sorted(_list_entries(app), reverse=True):
        seen[entry.name.split("-")[1]] += 1
        is_cut_off = unfinished and not _is_there(entry / "kept")
        if entry.name < oldest or seen[entry.name.split("-")[1]] > _MOST_VERSIONS or is_cut_off:
            remove_tree(entry)
            gone += 1
    return gone


@contextmanager
def _make_entry(
    app: App, folder: int, path: FilePath, status: os.stat_result, happened: str, *, prunes: bool = True
) -> Iterator[int]:
    """Make the folder of a new entry, open; what the block puts there is on the disk when it ends."""
    history = app.make_state() / "history"
    history.mkdir(mode=0o700, exist_ok=True)
    if prunes:
        prune(app)
    moment = datetime.now(UTC)
    entry = history / f"{moment.strftime(_MOMENT)}-{_make_mark(path)}-{secrets.token_hex(3)}"
    entry.mkdir(mode=0o700)
    size, digest = _measure(folder, path, status)
    at = format_moment(moment)
    version = FileVersion(entry.name, str(path), name_kind(status.st_mode), happened, at, size, digest)
    write_file(entry / "entry.json", json.dumps(asdict(version)), mode=0o600)
    place = os.open(entry, _DIRECTORY)
    try:
        yield place
        os.fsync(place)
        sync_folder(history)
    finally:
        os.close(place)


def _list_entries(app: App) -> list[Path]:
    return [entry for entry in list_folder(app.state / "history") if entry.name.count("-") == 2]


def _read_version(entry: Path) -> FileVersion | None:
    if not _is_there(entry / "kept"):
        return None
    try:
        return FileVersion(**json.loads((entry / "entry.json").read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def _measure(folder: int, path: FilePath, status: os.stat_result) -> tuple[int | None, str | None]:
    if not stat.S_ISREG(status.st_mode):
        return None, None
    with os.fdopen(open_file(path.parts[-1], dir_fd=folder), "rb") as file:
        return status.st_size, hashlib.file_digest(file, "sha256").hexdigest()


def _move(here: int, name: str, there: int, new: str) -> None:
    """Move what stands in one open folder into another one, also onto another filesystem: first the copy is whole."""
    try:
        os.rename(name, new, src_dir_fd=here, dst_dir_fd=there)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        unfinished = f".ikoma-writing-{secrets.token_hex(6)}"  # what a kill leaves of it is swept
        try:
            _copy_whole(here, name, there, unfinished)
            os.rename(unfinished, new, src_dir_fd=there, dst_dir_fd=there)
        except BaseException:
            _remove(there, unfinished)
            raise
        os.fsync(there)
        _remove(here, name)
    os.fsync(there)
    os.fsync(here)


def _remove(folder: int, name: str) -> None:
    with suppress(FileNotFoundError):
        if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            remove_tree(name, dir_fd=folder)
        else:
            os.unlink(name, dir_fd=folder)


def _copy_whole(here: int, name: str, there: int, new: str) -> None:
    """Copy a file, link or folder; no link is followed, and what has no content is left out."""
    status = os.stat(name, dir_fd=here, follow_symlinks=False)
    if stat.S_ISREG(status.st_mode):
        _copy(here, name, there, new, status)
    elif stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(name, dir_fd=here), new, dir_fd=there)
        os.chown(new, status.st_uid, status.st_gid, dir_fd=there, follow_symlinks=False)
    elif stat.S_ISDIR(status.st_mode):
        os.mkdir(new, 0o700, dir_fd=there)
        with _open_folder(here, name) as source, _open_folder(there, new) as target:
            for inside in os.listdir(source):  # noqa: PTH208 - of a descriptor
                _copy_whole(source, inside, target, inside)
            os.fchown(target, status.st_uid, status.st_gid)
            os.fchmod(target, stat.S_IMODE(status.st_mode))
            os.fsync(target)


@contextmanager
def _open_folder(folder: int, name: str) -> Iterator[int]:
    descriptor = os.open(name, _DIRECTORY, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _copy(folder: int, name: str, place: int, new: str, status: os.stat_result) -> None:
    """A copy, where the folder is on another filesystem."""
    target = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=place)
    with os.fdopen(open_file(name, dir_fd=folder), "rb") as source, os.fdopen(target, "wb") as copy:
        shutil.copyfileobj(source, copy)
        os.fchown(copy.fileno(), status.st_uid, status.st_gid)
        os.fchmod(copy.fileno(), stat.S_IMODE(status.st_mode))
        copy.flush()
        os.fsync(copy.fileno())


def _is_folder(folder: int, path: FilePath) -> bool:
    try:
        return stat.S_ISDIR(os.stat(path.parts[-1], dir_fd=folder, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def _is_there(path: Path) -> bool:
    return os.path.lexists(path)


def _make_mark(path: FilePath) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]


def name_kind(mode: int) -> str:
    """file, folder, link or other."""
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "folder"
    return "link" if stat.S_ISLNK(mode) else "other"
