"""Folders that are mounted and were not there: made by IKOMA, and handed over to whom the containers run as.

Who that is shows only when containers are made, so a list of folders to hand over is kept until then: a server that is
killed in between leaves none that its containers cannot write. What was there before stays as it is.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import orjson

from ikoma.app_folder import App
from ikoma.compose.model import ComposeModel, Mount
from ikoma.compose.paths import locate
from ikoma.durable import write_file
from ikoma.errors import PathOutside

_LIST = "new-folders.json"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CLOSED = 0o700
"""How earlier versions made folders: empty and closed, nobody but root has had a use for one."""


def make_folders(app: App, model: ComposeModel) -> None:
    """Make what a resolved model mounts from the app's folder and is not there."""
    inside = []
    for mount in model.binds:
        with suppress(PathOutside):  # what is outside is there already, or the policy refuses it
            inside.append(app.check_inside(locate(mount.source).path))
    missing = [path for path in inside if not os.path.lexists(path)]
    if missing:
        root = Path(os.path.realpath(app.path))
        listed = sorted({*_read_list(app), *(str(path.relative_to(root)) for path in missing)})
        write_file(app.make_state() / _LIST, orjson.dumps(listed), mode=0o600)
    for path in missing:
        app.make_folder(path)


def hand_over(app: App, mounts: Iterable[Mount], uid: int, gid: int) -> None:
    """Give the folders among these mounts that IKOMA has made to whom their container runs as."""
    root, listed = Path(os.path.realpath(app.path)), _read_list(app)
    for mount in mounts:
        if not mount.is_bind or mount.read_only:
            continue
        path = locate(mount.source).path
        if root not in path.parents:
            continue
        with suppress(OSError):  # a file, or nothing that is to be handed over
            folder = os.open(path, _FOLDER)
            try:
                is_ours = is_to_be_handed_over(os.fstat(folder), listed=str(path.relative_to(root)) in listed)
                with os.scandir(folder) as entries:
                    is_empty = next(entries, None) is None
                if is_ours and is_empty:
                    os.fchown(folder, uid, gid)
                    os.fchmod(folder, 0o755)
            finally:
                os.close(folder)


def is_to_be_handed_over(status: os.stat_result, *, listed: bool) -> bool:
    """Whether a folder is IKOMA's own making still, as far as its owner and mode tell."""
    return status.st_uid == 0 and (listed or stat.S_IMODE(status.st_mode) == _CLOSED)


def forget_list(app: App) -> None:
    """All folders on the list are handed over."""
    (app.state / _LIST).unlink(missing_ok=True)


def _read_list(app: App) -> list[str]:
    return list(app.read_state(_LIST) or [])
