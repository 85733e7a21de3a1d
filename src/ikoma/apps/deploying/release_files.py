"""The files that a release was made of: its source, and its compose files as they were written.

They are read from what the release keeps, and can be put back into the app's folder one by one: what stands there is
kept in its history first, so that a kill at any line leaves each file as it was or as it is to be, and the same call
goes on. What the release does not have is left where it is, and named: it may be data, or a migration that the
database has by now.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from ikoma.app_folder import App
from ikoma.apps.deploying.release_tree import SQL
from ikoma.apps.files import file_history, files
from ikoma.apps.releases.release import Release, Releases
from ikoma.apps.snapshots.manifest import MANIFEST, Snapshot, SnapshotEntry
from ikoma.apps.snapshots.snapshot import Snapshots
from ikoma.apps.source.changes import find_changes
from ikoma.apps.yaml import file_choice
from ikoma.compose.mounts import find_sources
from ikoma.durable import open_whole_file_at, translate_disk_full
from ikoma.errors import FileMissing, IkomaError, Next, NotAFile
from ikoma.model import FilePath, make_printable
from ikoma.moments import format_moment

_COMPOSE_MODE = 0o644


@dataclass(frozen=True, slots=True)
class FolderDifferences:
    """Differences of the app's folder from a release. Paths as the file system has them, sorted."""

    other: tuple[str, ...]
    """Paths that are another there, or not there."""
    added: tuple[str, ...]
    """Paths that only the folder has."""


class ReleaseFiles:
    """The files of one release."""

    def __init__(self, app: App, release: Release) -> None:
        self._app = app
        self._release = release
        self.texts = {path: text.encode() for path, text in Releases(app).read_texts(release).items()}
        """The release's compose files."""

    @property
    def compose_file(self) -> str | None:
        """The first of its compose files; None of a release that an earlier version made."""
        return next(iter(self.texts), None)

    @cached_property
    def snapshot(self) -> Snapshot:
        """The source; empty where its deploy was killed before it was kept."""
        return read_snapshot(self._app, self._release)

    @cached_property
    def entries(self) -> Mapping[str, SnapshotEntry]:
        """Every path that it has, sorted."""
        found = {path: item for path, item in self.snapshot.entries.items() if not FilePath.is_hidden(path.split("/"))}
        for path, text in self.texts.items():
            if path not in found:
                digest = hashlib.sha256(text).hexdigest()
                found[path] = SnapshotEntry("file", _COMPOSE_MODE, os.geteuid(), os.getegid(), digest, len(text))
        found.pop(".", None)
        return {path: found[path] for path in sorted(found)}

    def list(self, path: FilePath | None, *, recursive: bool) -> tuple[list[files.FolderEntry], bool]:
        """List a folder of the release, sorted by path; and tell whether there is more than is listed."""
        before = f"{path}/" if path else ""
        inside = {name: entry for name, entry in self.entries.items() if name.startswith(before)}
        if path and not inside and self._find_entry(path).kind != "folder":
            raise NotAFile(f"{path} is no folder.")
        shown = [
            files.FolderEntry(
                make_printable(name), entry.kind, entry.size if entry.kind == "file" else 0, self._format_time(entry)
            )
            for name, entry in inside.items()
            if recursive or "/" not in name[len(before) :]
        ]
        return shown[: files.MOST_ENTRIES], len(shown) > files.MOST_ENTRIES

    def read(self, path: FilePath, *, offset: int, limit: int) -> files.FilePart:
        """Read a part of a file, from `offset` on."""
        entry = self._find_entry(path)
        if entry.kind != "file":
            raise NotAFile(f"{path} is a {entry.kind}, not a file.")
        with self._open(path, entry) as file:
            file.seek(min(offset, entry.size))
            return files.FilePart(file.read(limit), entry.size, entry.content)

    def read_whole(self, path: str, most: int) -> bytes | None:
        """Read a whole file, or a link as what it leads to; None where it is larger."""
        entry = self.entries[path]
        if entry.kind == "link":
            return os.fsencode(entry.content)
        if entry.size > most:
            return None
        with self._open(path, entry) as file:
            return file.read()

    def compare(self, path: FilePath | None) -> FolderDifferences:
        """Compare the app's folder with the release, at a path or at all of them."""
        if path is not None and not any(is_below(name, path) for name in self.entries):
            self._find_entry(path)
        root = Path(os.path.realpath(self._app.path))
        found = find_sources(self._app, Releases(self._app).read_model(self._release.id), besides=SQL)
        seen = find_changes(root, found, self.snapshot)
        folders = [name for name, item in self.entries.items() if item.kind == "folder" and not _is_folder(root / name)]
        texts = [name for name in self.texts.keys() - self.snapshot.entries.keys() if not self._is_there(name)]
        now = file_choice.list_paths(self._app) if self.texts else ()  # else it is not known which it had
        more = [str(file.relative_to(self._app.path)) for file in now if file.exists()]
        runbook = self._app.runbook.name  # IKOMA's own, which each deploy writes anew
        other = {*seen.changed, *seen.removed, *folders, *texts} & (self.entries.keys() - {runbook})
        return FolderDifferences(
            tuple(sorted(name for name in other if is_below(name, path))),
            tuple(sorted(name for name in {*seen.added, *more} - {*self.entries, runbook} if is_below(name, path))),
        )

    def put_back(self, name: str) -> None:
        """Put one path into the app's folder as the release has it; what stands there is kept in its history."""
        path, entry = FilePath(name), self.entries[name]
        with translate_disk_full(), files.open_folder(self._app, path.parts[:-1], make=True) as folder:
            there = _find_kind(folder, path)
            if entry.kind == "folder":
                self._make_folder(folder, path, entry, there)
                return
            if there == "folder":
                file_history.keep_moved(self._app, folder, path)
            elif there is not None:
                file_history.keep_copy(self._app, folder, path, prunes=False)
            if entry.kind == "link":
                _link(folder, path, entry)
            else:
                self._write(folder, path, entry)

    def _make_folder(self, folder: int, path: FilePath, entry: SnapshotEntry, there: str | None) -> None:
        if there == "folder":
            return
        if there is not None:
            file_history.keep_moved(self._app, folder, path)
        os.mkdir(path.parts[-1], 0o700, dir_fd=folder)
        with files.open_folder(self._app, path.parts) as inside:
            os.fchown(inside, entry.uid, entry.gid)
            os.fchmod(inside, entry.mode)
        os.fsync(folder)

    def _write(self, folder: int, path: FilePath, entry: SnapshotEntry) -> None:
        with (
            self._open(path, entry) as source,
            open_whole_file_at(folder, path.parts[-1], mode=entry.mode) as target,
        ):
            os.fchown(target.fileno(), entry.uid, entry.gid)
            shutil.copyfileobj(source, target)

    def _is_there(self, name: str) -> bool:
        """Whether a compose file stands in the folder as it was."""
        with suppress(IkomaError, OSError, ValueError):
            return self._app.read_inside(self._app.path / name, len(self.texts[name]) + 1) == self.texts[name]
        return False

    def _find_entry(self, path: FilePath) -> SnapshotEntry:
        entry = self.entries.get(path)
        if entry is None:
            problem = f"The release {self._release.id} has no file {path}."
            if not self.entries:
                raise FileMissing(problem, hint="Nothing is kept of its files: it never served.", next=[])
            hint = "It has source and compose files, no data: files.list with this release shows what there is."
            raise FileMissing(problem, hint=hint, next=Next("files.list", {"release": self._release.id}))
        return entry

    @contextmanager
    def _open(self, path: str, entry: SnapshotEntry) -> Iterator[BinaryIO]:
        if path in self.texts and path not in self.snapshot.entries:
            yield BytesIO(self.texts[path])
            return
        with os.fdopen(Snapshots(self._app).open(path, entry), "rb") as file:
            yield file

    def _format_time(self, entry: SnapshotEntry) -> str:
        if not entry.mtime:
            return f"{self._release.started_at[:19]}Z"
        return format_moment(datetime.fromtimestamp(entry.mtime / 1e9, UTC))


def read_snapshot(app: App, release: Release | None) -> Snapshot:
    """The source of a release; empty where there is none, or its deploy was killed before it was kept."""
    root = Path(os.path.realpath(app.path))
    if release is None:
        return Snapshot(root, {})
    try:
        return Snapshot.read(Releases(app).locate_folder(release.id) / MANIFEST, app.path)
    except FileNotFoundError:
        return Snapshot(root, {})


def is_below(name: str, path: FilePath | None) -> bool:
    """Whether a path is another one or below it; all are below None."""
    return path is None or name == path or name.startswith(f"{path}/")


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _find_kind(folder: int, path: FilePath) -> str | None:
    try:
        return file_history.name_kind(os.stat(path.parts[-1], dir_fd=folder, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return None


def _link(folder: int, path: FilePath, entry: SnapshotEntry) -> None:
    unfinished = f".ikoma-writing-{secrets.token_hex(6)}"
    os.symlink(entry.content, unfinished, dir_fd=folder)
    os.chown(unfinished, entry.uid, entry.gid, dir_fd=folder, follow_symlinks=False)
    os.rename(unfinished, path.parts[-1], src_dir_fd=folder, dst_dir_fd=folder)
    os.fsync(folder)
