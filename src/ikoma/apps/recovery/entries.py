"""Makes an entry of the trash of an app's backup: apps.restore brings it back from there, as it does after a removal.

An entry gets its name when all in it is there. What a kill leaves is removed by the next start.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

from ikoma.app_folder import App
from ikoma.apps.app import Apps
from ikoma.apps.backups.archive import unpack
from ikoma.apps.backups.folder import FOLDER, STATE, VOLUMES, AppBackup
from ikoma.apps.releases.release import format_now
from ikoma.apps.trash.entries import TrashEntry
from ikoma.checkpoints import checkpoint
from ikoma.durable import remove_tree, sync_filesystem, sync_folder
from ikoma.model import AppName
from ikoma.ports.volumes import ResourceInfo


def name_entry(backup: AppBackup) -> str:
    """Name the entry of a backup: it is the same each time."""
    made = datetime.fromisoformat(backup.created_at)
    return f"{backup.app}-{made:%Y%m%d-%H%M%S}-{hashlib.sha256(backup.name.encode()).hexdigest()[:4]}"


def make_entry(apps: Apps, backup: AppBackup, place: Path) -> str:
    """Make the entry of a backup where there is none yet; its id.

    Args:
        place: the folder of the backup, whose files are as they were signed.
    """
    trash = apps.root / ".ikoma" / "trash"
    target = trash / name_entry(backup)
    if target.exists():
        return target.name
    trash.mkdir(parents=True, exist_ok=True, mode=0o700)
    work = trash.parent / f"emptying-trash-{target.name}"
    if work.exists():
        remove_tree(work)
    work.mkdir(mode=0o700)
    _fill(TrashEntry(work), backup, place)
    checkpoint("entry filled")
    sync_filesystem(work)
    os.rename(work, target)
    sync_folder(trash)
    return target.name


def _fill(entry: TrashEntry, backup: AppBackup, place: Path) -> None:
    unpack(place / FOLDER, entry.folder)
    if (place / STATE).is_file():
        unpack(place / STATE, entry.folder / ".ikoma")
    (entry.path / "volumes").mkdir(mode=0o700)
    for name, told in backup.volumes.items():
        _share(place / VOLUMES / f"{name}.tar", entry.locate_volume(name))
        made = ResourceInfo(backup.app, told["driver"], options=told["options"], labels=told["labels"])
        entry.describe_volume(name, made)
    tables: dict[str, Any] = {}
    if backup.database is not None:
        for name in backup.dump_files:
            (entry.path / name).parent.mkdir(mode=0o700, exist_ok=True)
            _share(place / name, entry.path / name)
        tables = dict(backup.database["tables"])
    entry.describe(
        app=backup.app, removedAt=format_now(), caller="ikoma", backup=backup.name, tables=tables, waivers=[]
    )
    entry.keep_password(App(AppName(backup.app), entry.folder))


def _share(there: Path, here: Path) -> None:
    try:
        os.link(there, here)
    except OSError:  # another filesystem
        shutil.copyfile(there, here)
        here.chmod(0o600)
