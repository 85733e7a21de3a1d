"""Preparation of a start: the folders, what killed processes left in them, and the first key."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from ikoma.apps.app import Apps, log_failures
from ikoma.apps.environment import file_permissions
from ikoma.apps.files import retention
from ikoma.apps.previews.previews import sweep_previews
from ikoma.apps.source import checkout
from ikoma.apps.trash.entries import sweep_trash
from ikoma.durable import make_folder, sweep, write_file
from ikoma.engines.compose import staging
from ikoma.errors import StartRefused
from ikoma.kernel.access.callers import make_key
from ikoma.settings import Settings, read_api_key_hash


def prepare(settings: Settings) -> bool:
    """Make the folders and, where there is none, the admin key; whether a key was made.

    What killed processes left half-written is swept away. From here on, what this process writes is its own user's
    alone, unless it says otherwise.
    """
    make_folders(settings)
    staging.sweep()
    apps = Apps(settings.apps_root)
    apps.sweep()
    sweep_previews(settings.apps_root)
    sweep_trash(settings.apps_root)
    for name in apps.list_names():
        with log_failures(name):
            file_permissions.close(apps.locate(name))
            checkout.recover(apps.locate(name))
            retention.tidy(apps.locate(name))
    if settings.api_key_hash or read_api_key_hash(settings.env_file):
        return False
    key = make_key()
    write_file(settings.api_key_file, key + "\n", mode=0o600)
    known = settings.env_file.read_text() if settings.env_file.is_file() else ""
    gap = "" if not known or known.endswith("\n") else "\n"
    digest = hashlib.sha256(key.encode()).hexdigest()
    write_file(settings.env_file, f"{known}{gap}API_KEY_HASH={digest}\n", mode=0o600)
    return True


def make_folders(settings: Settings) -> None:
    """Make the folders of the server, and sweep them of what killed processes left half-written.

    Raises:
        StartRefused: others can read what is the server's own, or a folder cannot be made.
    """
    os.umask(0o077)
    file_permissions.refuse_exposed(settings)
    for folder, mode in (
        (settings.apps_root, 0o755),
        (settings.ikoma_home, 0o755),
        (settings.ikoma_state, 0o711),
        (settings.backups_root, 0o700),
    ):
        _make_folder(folder, mode)
        sweep(folder)
    _make_folder(settings.audit_log.parent, 0o755)


def _make_folder(folder: Path, mode: int) -> None:
    try:
        if not folder.is_dir():
            for parent in reversed(folder.parents):
                make_folder(parent, 0o755)
            make_folder(folder, mode)
    except OSError as error:
        raise StartRefused(
            f"{folder} cannot be made: {error.strerror}.",
            hint="Run as root, or point the setting at a folder of yours.",
        ) from error
