"""The trash: what apps.remove takes away is kept here, as folder, dump of the database and content of the volumes.

An entry is `APPS_ROOT/.ikoma/trash/APP-TIME-xxxx/`. The app's folder moves last, so a removal that was interrupted is
simply called again: `.ikoma/removing` in the app's folder names the entry to go on with, and what is in it stays.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from ikoma.app_folder import App
from ikoma.durable import sweep, sync_folder, write_file


@dataclass(frozen=True, slots=True)
class TrashEntry:
    """One removed app."""

    path: Path

    @property
    def dump(self) -> Path:
        return self.path / "database.sql"

    def volume_path(self, name: str) -> Path:
        return self.path / "volumes" / f"{name}.tar"

    @property
    def app(self) -> str:
        return str(self._described.get("app") or self.path.name.rsplit("-", 3)[0])

    @property
    def removed_at(self) -> str:
        """The time of the removal as it was written down; one that was interrupted has only the folder's own time."""
        told = self._described.get("removedAt")
        return str(told or datetime.fromtimestamp(self.path.stat().st_mtime, UTC).isoformat(timespec="seconds"))

    @property
    def caller(self) -> str:
        return str(self._described.get("caller") or "")

    def list_parts(self) -> list[str]:
        """List the parts of the app that are there: folder, database, volumes."""
        parts = {"folder": self.path / "folder", "database": self.dump, "volumes": next(self._list_volumes(), None)}
        return [name for name, path in parts.items() if path is not None and path.exists()]

    def measure(self) -> int:
        """Bytes of all its files; a link counts for itself."""
        found = 0
        for folder, _, names in os.walk(self.path):
            for name in names:
                with suppress(FileNotFoundError):
                    found += os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118  # names may be no text
        return found

    def _list_volumes(self) -> Iterator[Path]:
        return (self.path / "volumes").glob("*.tar")

    @property
    def _described(self) -> Mapping[str, Any]:
        try:
            facts = orjson.loads((self.path / "removed.json").read_bytes())
        except (FileNotFoundError, orjson.JSONDecodeError):
            return {}
        return facts if isinstance(facts, dict) else {}

    def describe(self, **facts: object) -> None:
        """Write down what is in the entry, for the person or the call that brings the app back."""
        write_file(self.path / "removed.json", orjson.dumps(facts, option=orjson.OPT_INDENT_2), mode=0o600)


class Trash:
    """The trash of one root."""

    def __init__(self, apps_root: Path) -> None:
        self._folder = apps_root / ".ikoma" / "trash"

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
        if not self._folder.is_dir():
            return []
        found = [TrashEntry(path) for path in self._folder.iterdir() if path.is_dir()]
        return sorted(found, key=lambda entry: (entry.removed_at, entry.path.name), reverse=True)

    def move_folder(self, app: App, entry: TrashEntry) -> None:
        """Move the app's folder, as the last step of a removal: from here on the app is gone."""
        (app.state / "removing").unlink(missing_ok=True)
        app.path.rename(entry.path / "folder")
        sync_folder(entry.path)
        sync_folder(app.path.parent)
