"""The newest backup of an app's database that a restore has proven: a dump, or part of a whole app's backup."""

from __future__ import annotations

from ikoma.apps.backups.folder import AppBackups
from ikoma.apps.database.backups import Backups, ProvenBackup
from ikoma.model import AppName


def find_newest_proven(backups: Backups, app_backups: AppBackups, app: AppName) -> ProvenBackup | None:
    """Find it among those of this machine; None where there is none."""
    dumps = [ProvenBackup(item.name, item.created_at) for item in backups.list_of(app) if item.proven_at]
    whole = (item for item in app_backups.list_of(app) if item.proven_at and item.database is not None)
    found = [*dumps, *(ProvenBackup(item.name, item.created_at) for item in whole)]
    return max(found, key=lambda item: item.created_at, default=None)
