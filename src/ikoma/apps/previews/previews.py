"""Makes previews of apps, and takes them away again.

A preview's folder appears with its record, whole, so that there is none that nobody knows of; everything after that is
done again by the next call where it was cut off. What it is made of is read from the app's folder without its lock:
a rollback need not wait for a preview.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson

from ikoma.app_folder import App
from ikoma.apps.app import Apps
from ikoma.apps.database import credentials
from ikoma.apps.database.backups import Backups
from ikoma.apps.deploying.release_tree import SQL
from ikoma.apps.deploying.written_folders import bring_changes, list_below
from ikoma.apps.environment.editor import EnvFile
from ikoma.apps.releases.release import format_now
from ikoma.apps.resolution import preview_files
from ikoma.apps.resolution.preview_files import Preview
from ikoma.apps.resolution.resolver import Resolutions
from ikoma.apps.snapshots.manifest import SnapshotEntry
from ikoma.apps.snapshots.snapshot import MANIFEST, Snapshot, Snapshots
from ikoma.compose.model import ComposeModel
from ikoma.compose.mounts import find_dockerfiles, find_sources, list_deployed_data
from ikoma.compose.release_folder import TREE
from ikoma.durable import make_folder, remove_tree, sync_folder, write_file
from ikoma.errors import FileMissing, PathOutside, PreviewNameTaken, TooManyPreviews
from ikoma.model import AppName
from ikoma.moments import format_moment
from ikoma.ports.databases import Databases
from ikoma.ports.progress import Progress

MOST = 10
"""Previews of one app."""
_LARGEST_DOCKERFILE = 1 << 20
_COPIED = "copied.json.gz"
"""The files that a preview had of the app's folder when it was copied last: a manifest of a snapshot."""
_COPIED_VARIABLES = "copied-variables.json"
"""Checksums of the values that a preview had from the app: name → the last ones."""
_MOST_COPIED = 3
_LEAVING = "leaving-preview-"
_MAKING = "making-preview-"


@dataclass(frozen=True, slots=True)
class Previews:
    """The previews of all apps under one root. Callers hold the preview's lock."""

    apps: Apps
    databases: Databases
    backups: Backups
    resolutions: Resolutions

    def list_of(self, app: App) -> list[tuple[App, Preview]]:
        """List an app's previews."""
        return [(item, found) for item, found in self._select(self.apps.list_names()) if found.of == app.name]

    def list_due(self) -> list[Preview]:
        """List the previews that have expired, and those whose app is gone."""
        names = self.apps.list_names()
        return [found for _, found in self._select(names) if found.has_expired or found.of not in names]

    def open(self, app: App, ref: str, *, hours: int, caller: str) -> tuple[App, Preview, bool]:
        """Open the folder and record of an app's preview of a ref, and whether they were made now; an end is put off.

        Raises:
            TooManyPreviews, NameTooLong
            PreviewNameTaken: a folder stands where the preview's would.
        """
        found = self.apps.locate(preview_files.name_preview(app.name, ref))
        ends = format_moment(datetime.now(UTC) + timedelta(hours=hours))
        if (known := preview_files.read(found)) is not None:
            record = replace(known, expires_at=ends)
            record.write(found)
            return found, record, False
        if len(self.list_of(app)) >= MOST:
            raise TooManyPreviews(f"{app.name} has {MOST} previews.")
        record = Preview(found.name, app.name, ref, caller, format_now(), ends)
        self._make(found, record)
        return found, record, True

    async def copy_files(self, app: App, model: ComposeModel, into: App) -> None:
        """Give a preview the app's compose file, `.env`, configuration and SQL as they are now, without its data."""
        gathered = await self.resolutions.gather(app)
        await asyncio.to_thread(_copy, app, model, into)
        for name, content in (gathered.files | _read_dockerfiles(app, model)).items():
            place = into.path / name
            if place == into.env_file or into.source in place.parents:
                continue
            into.make_folder(place.parent)
            write_file(into.check_inside(place.parent) / place.name, content, mode=0o600)
        await self._copy_variables(app, into)

    async def _copy_variables(self, app: App, into: App) -> None:
        """Give a preview the app's variables as they are resolved; those that were set for it keep their values."""
        reader = self.resolutions.reader
        wanted, known = (await reader.read_env(app)).require(), (await reader.read_env(into)).require()
        copied = _read_copied_values(into)
        own = {name for name, value in known.items() if _compute_digest(value) not in copied.get(name, ())}
        changed = {name: value for name, value in wanted.items() if name not in own and known.get(name) != value}
        gone = known.keys() - wanted.keys() - own
        # Written first, with those of before: whatever is cut off now, what was copied is still known as such.
        record = {
            name: [*copied.get(name, ())[-_MOST_COPIED:], _compute_digest(value)] for name, value in wanted.items()
        }
        record |= {name: copied[name] for name in gone}
        write_file(into.state / _COPIED_VARIABLES, orjson.dumps(record), mode=0o600)
        file = EnvFile(into, reader)
        if changed:
            await file.put_all(changed)
        for name in sorted(gone):
            await file.remove(name)

    async def copy_database(self, app: App, into: App, record: Preview, *, anew: bool, progress: Progress) -> Preview:
        """Give a preview a database that equals the app's, where it has none yet or is to have another."""
        if credentials.find(app) is None or (record.database and not anew):
            return record
        owned = credentials.obtain(into)
        await self.databases.create(into.name, owned.password)
        dump = into.state / "database.sql"
        dump.unlink(missing_ok=True)
        progress(f"copying the database of {app.name}")
        try:
            await self.databases.dump(app.name, dump, restore_as=into.name, progress=progress)
            await self.databases.restore(owned, dump, progress=progress)
        finally:
            dump.unlink(missing_ok=True)
        record = replace(record, database=True)
        record.write(into)
        return record

    async def remove_data(self, item: App) -> None:
        """Drop a preview's database, and remove its backups and its folder: all is a copy of what the app has."""
        await self.databases.drop(item.name)
        for backup in self.backups.list_of(item.name):
            self.backups.remove(backup.name)
        if item.path.is_dir() and not item.path.is_symlink():
            leaving = self.apps.root / ".ikoma" / f"{_LEAVING}{secrets.token_hex(6)}"
            os.rename(item.path, leaving)
            sync_folder(self.apps.root)
            await asyncio.to_thread(remove_tree, leaving)

    def _select(self, names: Sequence[AppName]) -> list[tuple[App, Preview]]:
        apps = [self.apps.locate(name) for name in names if name.previewed]
        return [(item, found) for item in apps if (found := preview_files.read(item)) is not None]

    def _make(self, found: App, record: Preview) -> None:
        """Let folder and record appear at once."""
        (self.apps.root / ".ikoma").mkdir(mode=0o700, exist_ok=True)
        making = App(found.name, self.apps.root / ".ikoma" / f"{_MAKING}{secrets.token_hex(6)}")
        make_folder(making.path, 0o755)
        try:
            making.make_state()
            record.write(making)
            os.rename(making.path, found.path)
        except OSError as error:
            remove_tree(making.path)
            if os.path.lexists(found.path):
                raise PreviewNameTaken(f"There is a folder {found.path} that IKOMA did not make.") from error
            raise
        sync_folder(self.apps.root)


def sweep_previews(root: Path) -> None:
    """Remove what killed servers left half-made or half-removed, after a start."""
    for kind in (_LEAVING, _MAKING):
        for folder in (root / ".ikoma").glob(f"{kind}*"):
            remove_tree(folder)


def _read_dockerfiles(app: App, model: ComposeModel) -> dict[str, bytes]:
    """Read the app's Dockerfiles, and what they ignore, by path in its folder."""
    found = {}
    for path in find_dockerfiles(model.builds):
        for file in (path, path.with_name(f"{path.name}.dockerignore")):
            with suppress(FileMissing, PathOutside):
                found[str(file.relative_to(app.path))] = app.read_inside(file, _LARGEST_DOCKERFILE)
    return found


def _leave_out_source(root: Path, path: Path, data: Collection[Path]) -> Sequence[Path]:
    """List what to copy of a source path: all but data, and src/, which a preview has from the repository."""
    if path == root:
        left = (root / "src", root / ".ikoma", root / ".env", *data)
        return [item for item in root.iterdir() if item not in left and not item.is_symlink()]
    return [] if root / "src" in (path, *path.parents) or path in data else [path]


def _copy(app: App, model: ComposeModel, into: App) -> None:
    """Copy an app's source, without ever following a link that is swapped in meanwhile."""
    root = Path(os.path.realpath(app.path))
    source = find_sources(app, model, besides=(*SQL, "config"))
    data = {*source.data} - {
        root / "config" for path in list_deployed_data(app, model, source) if path == root / "config"
    }
    wanted = [item for path in source.paths for item in _leave_out_source(root, path, data)]
    paths = [item for item in wanted if os.path.lexists(item)]
    work = into.make_state() / "copying"
    if work.is_dir():
        remove_tree(work)
    work.mkdir(mode=0o700)
    snapshots = Snapshots(app, keep=work)
    taken = snapshots.take(paths, work / MANIFEST, data=source.left_out)
    snapshots.materialise(taken, work / TREE, writable=[taken.root])
    own = {
        into.path / path.relative_to(root): list_below(_read_copied_files(into), path.relative_to(root))
        for path in source.data
    }
    for item in sorted((work / TREE).iterdir()):
        _put(item, into.path / item.name, own)
    os.rename(work / MANIFEST, into.state / _COPIED)
    remove_tree(work)


def _read_copied_files(into: App) -> Mapping[str, SnapshotEntry]:
    """Read which files were copied into a preview the last time."""
    try:
        return Snapshot.read(into.state / _COPIED, into.path).entries
    except FileNotFoundError:
        return {}


def _put(new: Path, target: Path, data: Mapping[Path, Mapping[Path, SnapshotEntry]]) -> None:
    """Let something new take its place; of the preview's own data only what its containers have not changed.

    Args:
        data: folders of data, each with what was copied into it before.
    """
    is_folder = target.is_dir() and not target.is_symlink()
    if is_folder and target in data:
        bring_changes(new, target, data[target])
    elif is_folder and new.is_dir() and any(target in path.parents for path in data):
        for entry in target.iterdir():
            if not (new / entry.name).exists() and not any(entry in (path, *path.parents) for path in data):
                remove_tree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        for entry in new.iterdir():
            _put(entry, target / entry.name, data)
    else:
        if is_folder:
            remove_tree(target)
        elif os.path.lexists(target):
            target.unlink()
        os.rename(new, target)


def _read_copied_values(into: App) -> dict[str, list[str]]:
    """Read which values a preview had from the app; none are known of one that an earlier release made."""
    try:
        found: dict[str, list[str]] = orjson.loads((into.state / _COPIED_VARIABLES).read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return found


def _compute_digest(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()
