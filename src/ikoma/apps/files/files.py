"""An app's own files, read and written from outside without ever leaving its folder.

Every step of a path is opened from the folder before it and never through a link, so that nothing swapped in meanwhile
leads elsewhere. IKOMA's own state and `.env`, whose values are secrets, are not reached this way.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from ikoma.app_folder import App
from ikoma.apps.files import file_history
from ikoma.durable import open_file, sweep_at, write_at
from ikoma.errors import AppNotFound, FileChanged, FileMissing, Next, NotAFile, PathOutside, TextNotFound
from ikoma.model import FilePath, quote_name
from ikoma.moments import format_moment

MOST_ENTRIES = 1000
LARGEST_EDITED = 8 << 20
_DEEPEST = 100
"""Folders in one another that are listed: a container can make them without end."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class FolderEntry:
    """An entry of a folder. `kind` is file, folder, link or other; `modified` RFC 3339."""

    path: str
    kind: str
    size: int
    modified: str


@dataclass(frozen=True, slots=True)
class FilePart:
    """A part of a file, and what is known of the whole."""

    content: bytes
    size: int
    sha256: str


def list_entries(app: App, path: FilePath | None, *, recursive: bool) -> tuple[list[FolderEntry], bool]:
    """List a folder, sorted by path; and tell whether there is more than is listed."""
    with open_folder(app, path.parts if path else ()) as folder:
        found: list[FolderEntry] = []
        is_whole = all(_collect(folder, path.parts if path else (), found, recursive))
    return sorted(found, key=lambda entry: entry.path), not is_whole


def read(app: App, path: FilePath, *, offset: int, limit: int) -> FilePart:
    """Read a part of a file, from `offset` on."""
    with open_folder(app, path.parts[:-1]) as folder, os.fdopen(_open(folder, path), "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.seek(0, os.SEEK_END)
        file.seek(min(offset, size))
        return FilePart(file.read(limit), size, digest)


def write(app: App, path: FilePath, content: bytes, *, expected: str | None, executable: bool | None) -> FilePart:
    """Put content at a path, whole or not at all; folders on the way are made.

    Args:
        expected: the SHA-256 that the file must have now; FileChanged otherwise.
        executable: None keeps what the file that is replaced has.
    """
    with open_folder(app, path.parts[:-1], make=True) as folder:
        mode = _choose_mode(folder, path)
        if expected is not None and _compute_digest(folder, path) != expected:
            raise _make_changed_error(path)
        if executable is not None:
            mode = mode | 0o111 if executable else mode & ~0o111
        sweep_at(folder)
        digest = hashlib.sha256(content).hexdigest()
        if _compute_digest(folder, path) != digest:
            file_history.keep_copy(app, folder, path)
        write_at(folder, path.parts[-1], content, mode=mode)
    return FilePart(content, len(content), digest)


def edit(app: App, path: FilePath, old: str, new: str, *, expected: str | None) -> FilePart:
    """Replace a text that stands in a file once.

    Raises:
        TextNotFound: it stands there more often, or not at all.
        FileChanged: the file does not have the SHA-256 that was expected.
    """
    piece = read(app, path, offset=0, limit=LARGEST_EDITED + 1)
    if piece.size > LARGEST_EDITED:
        raise NotAFile(f"{quote_name(path)} is larger than {LARGEST_EDITED >> 20} MiB, too large to be edited.")
    if expected is not None and piece.sha256 != expected:
        raise _make_changed_error(path)
    found = piece.content.count(old.encode())
    if found != 1:
        often = f"stands in {path} {found} times" if found else f"does not stand in {path}"
        raise TextNotFound(f"The text that is to be replaced {often}.", next=_suggest_read(path))
    content = piece.content.replace(old.encode(), new.encode())
    return write(app, path, content, expected=expected or piece.sha256, executable=None)


def _make_changed_error(path: FilePath) -> FileChanged:
    return FileChanged(f"{quote_name(path)} is not what it was when you read it.", next=_suggest_read(path))


def _suggest_read(path: FilePath) -> Next:
    return Next("files.read", {"path": str(path)})


def restore(app: App, path: FilePath, version: str | None) -> file_history.FileVersion:
    """Put a file or folder back as it was; what stands there now is kept."""
    with open_folder(app, path.parts[:-1], make=True) as folder:
        return file_history.put_back(app, path, version, folder)


def delete(app: App, path: FilePath, *, recursive: bool) -> FilePart | None:
    """Take a file or link away, or with `recursive` a folder, and keep it for a time; what the file was."""
    with open_folder(app, path.parts[:-1]) as folder:
        status = _read_status(folder, path)
        is_folder = stat.S_ISDIR(status.st_mode)
        digest = (_compute_digest(folder, path) or "") if stat.S_ISREG(status.st_mode) else ""
        if is_folder:
            with _open_step(folder, path.parts[-1], path) as inside:
                if any(_list_names(inside)) and not recursive:
                    raise NotAFile(
                        f"{quote_name(path)} is a folder that is not empty.",
                        hint="Say `recursive` to delete all in it.",
                        next=_suggest_list(path.parts),
                    )
        try:
            file_history.keep_moved(app, folder, path)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            raise NotAFile(
                f"{quote_name(path)} is where another disk is mounted.", hint="Delete what is in it."
            ) from None
    return None if is_folder else FilePart(b"", status.st_size, digest)


def _collect(folder: int, before: tuple[str, ...], found: list[FolderEntry], recursive: bool) -> Iterator[bool]:
    """Adds what stands in an open folder; False where there was no more room."""
    for name in sorted(_list_names(folder)):
        parts = (*before, name)
        if FilePath.is_hidden(parts):
            continue
        if len(found) >= MOST_ENTRIES:
            yield False
            return
        try:
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:  # it went while we looked
            continue
        kind = file_history.name_kind(status.st_mode)
        size = status.st_size if kind == "file" else 0
        found.append(FolderEntry("/".join(parts), kind, size, _format_time(status.st_mtime)))
        if recursive and kind == "folder":
            if len(parts) > _DEEPEST:
                yield False
                continue
            gone = suppress(FileMissing, NotAFile, PathOutside)  # so did this one, or it is another thing now
            with gone, _open_step(folder, name, "/".join(parts)) as inside:
                yield from _collect(inside, parts, found, recursive)
    yield True


@contextmanager
def open_folder(app: App, parts: tuple[str, ...], *, make: bool = False) -> Iterator[int]:
    """Open the folder of that path inside the app's."""
    try:
        descriptor = os.open(app.path, _DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):  # it was there a moment ago
        raise AppNotFound(f"There is no app {app.name!r}.") from None
    try:
        for number, part in enumerate(parts, 1):
            is_new = make and _make_folder(descriptor, part)
            inside = _open_folder(descriptor, part, "/".join(parts[:number]))
            if is_new:
                os.fchmod(inside, 0o755)  # containers may run as any user
            os.close(descriptor)
            descriptor = inside
        yield descriptor
    finally:
        os.close(descriptor)


def _make_folder(folder: int, name: str) -> bool:
    try:
        os.mkdir(name, 0o700, dir_fd=folder)
    except FileExistsError:
        return False
    os.fsync(folder)
    return True


def _list_names(folder: int) -> list[str]:
    with os.scandir(folder) as found:
        return [entry.name for entry in found]


@contextmanager
def _open_step(folder: int, name: str, path: object) -> Iterator[int]:
    descriptor = _open_folder(folder, name, path)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _open_folder(folder: int, name: str, path: object) -> int:
    try:
        return os.open(name, _DIRECTORY, dir_fd=folder)
    except FileNotFoundError:
        raise FileMissing(f"There is no folder {quote_name(path)}.", hint="files.list shows what is there.") from None
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        if _is_link(folder, name):
            raise PathOutside(f"{quote_name(path)} is a link; links are not followed.") from None
        raise NotAFile(f"{quote_name(path)} is no folder.") from None


def _is_link(folder: int, name: str) -> bool:
    with suppress(FileNotFoundError):
        return stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    return False


def _open(folder: int, path: FilePath) -> int:
    """Open the file; NotAFile where it is none."""
    _require_file(_read_status(folder, path), path)
    try:
        return open_file(path.parts[-1], dir_fd=folder)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ELOOP, errno.ENXIO):
            raise
        raise NotAFile(f"{quote_name(path)} is not the file that it was a moment ago.") from None


def _read_status(folder: int, path: FilePath) -> os.stat_result:
    try:
        return os.stat(path.parts[-1], dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        raise FileMissing(
            f"There is no file {quote_name(path)}.",
            hint="files.list shows what is there.",
            next=_suggest_list(path.parts[:-1]),
        ) from None


def _suggest_list(parts: Sequence[str]) -> Next:
    return Next("files.list", {"path": "/".join(parts)} if parts else {})


def _choose_mode(folder: int, path: FilePath) -> int:
    """Choose the permissions of the file that is to be replaced; 0644 for a new one."""
    try:
        status = os.stat(path.parts[-1], dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return 0o644
    _require_file(status, path)
    return stat.S_IMODE(status.st_mode) & 0o777


def _compute_digest(folder: int, path: FilePath) -> str | None:
    try:
        with os.fdopen(_open(folder, path), "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileMissing:
        return None


def _require_file(status: os.stat_result, path: FilePath) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise PathOutside(f"{quote_name(path)} is a link; links are not followed.")
    if not stat.S_ISREG(status.st_mode):
        raise NotAFile(
            f"{quote_name(path)} is {'a folder' if stat.S_ISDIR(status.st_mode) else 'something else'}, not a file."
        )


def _format_time(seconds: float) -> str:
    return format_moment(datetime.fromtimestamp(seconds, UTC))
