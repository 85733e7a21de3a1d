"""Puts the files of a backup into an app's folder, in the place of those that are there.

They are unpacked under `.ikoma` first; then what is there moves aside, and they move in. The app is stopped, and what
is there is in a backup: so where this is cut off, it is done again from its beginning.
"""

from __future__ import annotations

import os
import secrets
import tarfile
from pathlib import Path

from ikoma.app_folder import App
from ikoma.checkpoints import checkpoint
from ikoma.durable import remove_tree, sync_filesystem, sync_folder, translate_disk_full
from ikoma.errors import BackupDamaged

_PREFIX = "restored-folder-"


def replace_folder(app: App, source: Path) -> None:
    """Let an app's folder hold what a tar file holds, and its own `.ikoma`.

    Raises:
        BackupDamaged: the file cannot be read to its end, or leads out of the folder; nothing was changed.
        DiskFull
    """
    sweep_folder(app)
    place = app.make_state() / f"{_PREFIX}{secrets.token_hex(6)}"
    new, former = place / "new", place / "former"
    for folder in (place, new, former):
        folder.mkdir(mode=0o700)
    _unpack(source, new, app.state.name)
    sync_filesystem(place)
    checkpoint("whole: unpacked")
    _move_all(app.path, former, app.state.name)
    checkpoint("whole: moved aside")
    _move_all(new, app.path, app.state.name)
    sync_folder(app.path)
    remove_tree(place)


def sweep_folder(app: App) -> None:
    """Remove what was cut off; the files themselves are in backups."""
    if app.state.is_dir():
        for place in app.state.glob(f"{_PREFIX}*"):
            remove_tree(place)


def _unpack(source: Path, target: Path, without: str) -> None:
    try:
        with translate_disk_full(), tarfile.open(source, mode="r:") as archive:
            for item in archive:
                _check(item, without)
                # As they were: owners, modes and links are the app's, and this server has signed the file.
                archive.extract(item, target, numeric_owner=True, filter="fully_trusted")
    except (tarfile.TarError, EOFError) as error:
        raise BackupDamaged(f"{source.name} cannot be read to its end; nothing was changed.") from error


def _check(item: tarfile.TarInfo, without: str) -> None:
    parts = Path(item.name).parts
    if Path(item.name).is_absolute() or ".." in parts or parts[:1] == (without,):
        raise BackupDamaged("The backup's folder.tar holds a path that leads out of the folder; nothing was changed.")


def _move_all(source: Path, target: Path, without: str) -> None:
    for path in list(source.iterdir()):
        if path.name != without:
            os.rename(path, target / path.name)
