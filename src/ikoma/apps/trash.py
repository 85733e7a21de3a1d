"""What apps.remove takes away is kept here: the folder, a dump of the database, the content of the volumes.

An entry is `APPS_ROOT/.ikoma/trash/APP-TIME-xxxx/`. The app's folder moves last, so a removal that was interrupted is
simply called again: `.ikoma/removing` in the app's folder names the entry to go on with, and what is in it stays.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from pathlib import Path

import orjson

from ikoma.apps.folder import App
from ikoma.durable import sweep, sync_folder, write_file


@dataclass(frozen=True, slots=True)
class TrashEntry:
    """One removed app."""

    path: Path

    @property
    def dump(self) -> Path:
        return self.path / "database.sql"

    def volume(self, name: str) -> Path:
        return self.path / "volumes" / f"{name}.tar"

    def describe(self, **facts: object) -> None:
        """Write down what is in the entry, for the person or the call that brings the app back."""
        write_file(self.path / "removed.json", orjson.dumps(facts, option=orjson.OPT_INDENT_2), mode=0o600)


class Trash:
    """The trash of one root."""

    def __init__(self, apps_root: Path) -> None:
        self._folder = apps_root / ".ikoma" / "trash"

    def entry(self, app: App) -> TrashEntry:
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

    def move_folder(self, app: App, entry: TrashEntry) -> None:
        """The last step of a removal: from here on the app is gone."""
        (app.state / "removing").unlink(missing_ok=True)
        app.path.rename(entry.path / "folder")
        sync_folder(entry.path)
        sync_folder(app.path.parent)
