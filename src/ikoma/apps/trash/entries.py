"""The trash: what apps.remove takes away is kept here, as folder, dump of the database and content of the volumes.

An entry is `APPS_ROOT/.ikoma/trash/APP-TIME-xxxx/`. The app's folder moves last, so a removal that was interrupted is
simply called again: `.ikoma/removing` in the app's folder names the entry to go on with, and what is in it stays.
`restoring.json` in an entry says as which app it is being brought back; it is written before anything is made.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from ikoma.app_folder import App, list_folder
from ikoma.apps.app import Apps
from ikoma.apps.database import credentials
from ikoma.durable import remove_tree, sweep, sync_folder, write_file
from ikoma.errors import TrashEntryBusy, TrashEntryIncomplete, TrashEntryMissing
from ikoma.model import AppName, Secret
from ikoma.moments import format_moment, parse_moment
from ikoma.ports.volumes import ResourceInfo

_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}-[0-9]{8}-[0-9]{6}-[0-9a-f]{4}")
_EMPTYING = "emptying-trash-"


@dataclass(frozen=True, slots=True)
class RestoreIntent:
    """The app that an entry is being brought back as, and whether its release is to serve again."""

    app: str
    start: bool


@dataclass(frozen=True, slots=True)
class TrashEntry:
    """One removed app."""

    path: Path

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def dump(self) -> Path:
        folder = self.path / "database"  # of a backup whose dump several workers have written
        return folder if folder.is_dir() else self.path / "database.sql"

    @property
    def folder(self) -> Path:
        return self.path / "folder"

    def locate_volume(self, name: str) -> Path:
        return self.path / "volumes" / f"{name}.tar"

    @property
    def app(self) -> AppName:
        return AppName(self._described.get("app") or self.path.name.rsplit("-", 3)[0])

    @property
    def removed_at(self) -> str:
        """The time of the removal as it was written down; one that was interrupted has only the folder's own time.

        It is "" where the entry was deleted a moment ago.
        """
        if told := self._described.get("removedAt"):
            return str(told)
        try:
            return format_moment(datetime.fromtimestamp(self.path.stat().st_mtime, UTC))
        except FileNotFoundError:
            return ""

    @property
    def caller(self) -> str:
        return str(self._described.get("caller") or "")

    @property
    def is_complete(self) -> bool:
        """Whether the removal came to its end: else an app may still rely on what is here."""
        return bool(self._described)

    @property
    def rows(self) -> Mapping[str, int]:
        """Rows of each table in the dump; empty where that was not written down."""
        return dict(self._described.get("tables") or {})

    @property
    def waivers(self) -> Sequence[Mapping[str, str]]:
        return list(self._described.get("waivers") or ())

    @property
    def lost(self) -> Sequence[str]:
        """The things of the app that the trash does not keep."""
        return list(self._described.get("lost") or ())

    def list_parts(self) -> list[str]:
        """List the parts of the app that are there: folder, database, volumes."""
        parts = {"folder": self.folder.is_dir(), "database": self.dump.exists(), "volumes": bool(self.list_volumes())}
        return [name for name, is_there in parts.items() if is_there]

    def list_volumes(self) -> list[str]:
        """Names of the volumes whose content is here."""
        return sorted(
            path.name.removesuffix(".tar") for path in list_folder(self.path / "volumes") if path.suffix == ".tar"
        )

    def measure(self) -> int:
        """Bytes of all its files; a link counts for itself."""
        found = 0
        for folder, _, names in os.walk(self.path):
            for name in names:
                with suppress(FileNotFoundError):
                    found += os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118  # names may be no text
        return found

    def list_releases(self) -> list[str]:
        """Ids of the releases that it holds: their images are kept as long as it is."""
        return [path.name for path in list_folder(self.folder / ".ikoma" / "releases")]

    def describe(self, **facts: object) -> None:
        """Write down what is in the entry, for the person or the call that brings the app back."""
        write_file(self.path / "removed.json", orjson.dumps(facts, option=orjson.OPT_INDENT_2), mode=0o600)

    def describe_volume(self, name: str, made: ResourceInfo) -> None:
        """Write down how a volume was made, before it goes."""
        described = self._read("volumes.json") | {
            name: {"driver": made.driver, "options": {**made.options}, "labels": {**made.labels}}
        }
        write_file(self.path / "volumes.json", orjson.dumps(described), mode=0o600)

    def find_volume(self, name: str) -> ResourceInfo | None:
        """Find how a volume was made; None where an earlier version has kept it."""
        found = self._read("volumes.json").get(name)
        return None if found is None else ResourceInfo(project=self.app.project, **found)

    def keep_password(self, app: App) -> None:
        """Keep the password of the app's database: what its releases were given goes on to be right."""
        if (owned := credentials.find(app)) is not None:
            content = orjson.dumps({"password": owned.password.reveal()})
            write_file(self.path / "password.json", content, mode=0o600)

    def find_password(self) -> Secret | None:
        found = self._read("password.json").get("password")
        return Secret(found) if isinstance(found, str) else None

    def find_intent(self) -> RestoreIntent | None:
        """Find as which app it is being brought back, or was when a server was killed."""
        found = self._read("restoring.json")
        return RestoreIntent(str(found["app"]), bool(found.get("start"))) if "app" in found else None

    def write_intent(self, intent: RestoreIntent) -> None:
        """Write down that it is being brought back; TrashEntryMissing where it was deleted meanwhile."""
        try:
            write_file(self.path / "restoring.json", orjson.dumps(asdict(intent)), mode=0o600)
        except FileNotFoundError:
            raise TrashEntryMissing(f"There is no {self.id} in the trash any more.") from None

    def clear_intent(self) -> None:
        (self.path / "restoring.json").unlink(missing_ok=True)

    @property
    def _described(self) -> Mapping[str, Any]:
        return self._read("removed.json")

    def _read(self, name: str) -> dict[str, Any]:
        try:
            facts = orjson.loads((self.path / name).read_bytes())
        except (FileNotFoundError, orjson.JSONDecodeError):
            return {}
        return facts if isinstance(facts, dict) else {}


class Trash:
    """The trash of one root."""

    def __init__(self, apps: Apps, days: int) -> None:
        """
        Args:
            days: for how many days an entry is kept.
        """
        self._apps = apps
        self.days = days
        self._folder = apps.root / ".ikoma" / "trash"

    def begin_entry(self, app: App) -> TrashEntry:
        """The entry for this app: the one an interrupted removal began, else a new one."""
        marker = app.state / "removing"
        if marker.is_file():
            entry = TrashEntry(self._folder / marker.read_text())
        else:
            # The last part: the same app may be made and removed again within the second.
            name = f"{app.name}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"
            entry = TrashEntry(self._folder / name)
            if app.exists:
                write_file(app.make_state() / "removing", name)
        (entry.path / "volumes").mkdir(parents=True, exist_ok=True, mode=0o700)
        sweep(entry.path)
        sweep(entry.path / "volumes")
        return entry

    def list_entries(self) -> list[TrashEntry]:
        """List all entries, the newest first."""
        there = (TrashEntry(path) for path in list_folder(self._folder) if path.is_dir())
        found = [(entry.removed_at, entry) for entry in there]
        return [
            entry for moment, entry in sorted(found, key=lambda item: (item[0], item[1].id), reverse=True) if moment
        ]

    def find(self, identity: str) -> TrashEntry:
        """Find an entry by its id; TrashEntryMissing where there is none."""
        entry = TrashEntry(self._folder / identity)
        if not _ID.fullmatch(identity) or not entry.path.is_dir():
            raise TrashEntryMissing(f"There is no such entry in the trash: {identity!r:.100}.")
        return entry

    def find_of(self, app: AppName, identity: str | None) -> TrashEntry:
        """Find an entry of an app: that one, else the one that is being brought back, else the newest.

        Raises:
            TrashEntryMissing: there is none of this app.
        """
        if identity is not None:
            entry = self.find(identity)
            if entry.app != app:
                raise TrashEntryMissing(f"The entry {identity} of the trash is of {entry.app}, not of {app}.")
            return entry
        found = [entry for entry in self.list_entries() if entry.app == app]
        begun = [entry for entry in found if entry.find_intent() is not None]
        if not found:
            raise TrashEntryMissing(f"The trash holds no app {app}.")
        return (begun or found)[0]

    def list_unfinished(self) -> list[TrashEntry]:
        """List the entries that somebody is bringing back, or that a killed server was."""
        return [entry for entry in self.list_entries() if entry.find_intent() is not None]

    def list_expired(self) -> list[TrashEntry]:
        """List the entries that were kept long enough. What a removal that is not finished has put here stays."""
        oldest = datetime.now(UTC) - timedelta(days=self.days)
        return [
            entry
            for entry in self.list_entries()
            if entry.is_complete and entry.find_intent() is None and _parse(entry.removed_at) < oldest
        ]

    def move_folder(self, app: App, entry: TrashEntry) -> None:
        """Move the app's folder, as the last step of a removal: from here on the app is gone."""
        (app.state / "removing").unlink(missing_ok=True)
        app.path.rename(entry.folder)
        sync_folder(entry.path)
        sync_folder(app.path.parent)

    def require_deletable(self, entry: TrashEntry) -> None:
        """Raises TrashEntryBusy, TrashEntryIncomplete where an app relies on what is in the entry."""
        if entry.find_intent() is not None:
            raise TrashEntryBusy(f"{entry.id} is being brought back.")
        if not entry.is_complete and self._apps.locate(entry.app).exists:
            raise TrashEntryIncomplete(f"The removal of {entry.app} was interrupted, and goes on with {entry.id}.")

    def delete(self, entry: TrashEntry) -> None:
        """Delete an entry for good: it is gone at once, and its files one after another.

        Raises:
            TrashEntryBusy, TrashEntryIncomplete: an app relies on it.
        """
        self.require_deletable(entry)
        doomed = self._take_out(entry)
        if TrashEntry(doomed).find_intent() is not None:  # somebody began a moment ago
            os.rename(doomed, entry.path)
            raise TrashEntryBusy(f"{entry.id} is being brought back.")
        remove_tree(doomed)

    def close(self, entry: TrashEntry) -> None:
        """Delete what is left of an entry whose app is back."""
        remove_tree(self._take_out(entry))

    def _take_out(self, entry: TrashEntry) -> Path:
        doomed = self._apps.root / ".ikoma" / f"{_EMPTYING}{secrets.token_hex(6)}"
        try:
            os.rename(entry.path, doomed)
        except FileNotFoundError:
            raise TrashEntryMissing(f"There is no {entry.id} in the trash any more.") from None
        sync_folder(self._folder)
        return doomed


def sweep_trash(root: Path) -> None:
    """Remove what killed servers left of entries that were being deleted, or half-written in others, after a start."""
    for folder in (root / ".ikoma").glob(f"{_EMPTYING}*"):
        remove_tree(folder)
    for entry in (root / ".ikoma" / "trash").glob("*"):
        for folder in (entry, entry / "volumes"):
            if folder.is_dir():
                sweep(folder)


def _parse(moment: str) -> datetime:
    try:
        return parse_moment(moment)
    except ValueError:  # nobody knows how old it is
        return datetime.now(UTC)
