"""Files with keys and secrets that other users of this machine could read or change.

Of the platform's own, whoever could has perhaps done so already: a person must look, so the server does not start.
What belongs to an app is closed without asking, because people write `.env` files with an editor.
"""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

from ikoma.app_folder import App
from ikoma.errors import StartRefused
from ikoma.settings import Settings

log = logging.getLogger("ikoma")

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def find_exposed(settings: Settings) -> list[Path]:
    """The platform's secret files that others may read or write, and its folders in which others may replace files."""
    files = [
        settings.api_key_file,
        settings.env_file,
        settings.database_file,
        settings.database_file.with_name(settings.database_file.name + "-wal"),
        settings.postgres_password_file,
        *([settings.source_ssh_key] if settings.source_ssh_key else []),
        *(settings.offsite.secret_files if settings.offsite else []),
    ]
    folders = [settings.ikoma_home, settings.ikoma_state, settings.apps_root, settings.backups_root]
    return [
        *(path for path in files if _read_mode(path) & _OTHERS),
        *(path for path in folders if _read_mode(path) & stat.S_IWOTH),
        *(
            [settings.audit_log]
            if settings.audit_log.is_file() and _read_mode(settings.audit_log) & stat.S_IWOTH
            else []
        ),
    ]


def refuse_exposed(settings: Settings) -> None:
    """StartRefused where there are such files, with the command that closes them."""
    found = find_exposed(settings)
    if found:
        names = ", ".join(map(str, found))
        raise StartRefused(
            f"Other users of this machine can read or change {names}.",
            hint=f"`{describe_remedy(found)}`, and replace keys and passwords that someone else may have read.",
        )


def describe_remedy(paths: list[Path]) -> str:
    """The command that closes files, and folders only against being written."""
    folders = [path for path in paths if path.is_dir()]
    files = [path for path in paths if path not in folders]
    commands = (("chmod 600", files), ("chmod go-w", folders))
    return " && ".join(" ".join((command, *map(str, found))) for command, found in commands if found)


def close(app: App) -> None:
    """Take the rights of others from an app's `.env` and from IKOMA's state about it. Links are left alone."""
    for path, kind in ((app.env_file, stat.S_IFREG), (app.state, stat.S_IFDIR)):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            mode = os.fstat(descriptor).st_mode
            if stat.S_IFMT(mode) == kind and mode & 0o077:
                os.fchmod(descriptor, stat.S_IMODE(mode) & 0o700)
                log.warning("%s was open to other users, and is not any more", path)
        finally:
            os.close(descriptor)


def _read_mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except OSError:  # it is not there, or in a folder that is closed to us
        return 0
