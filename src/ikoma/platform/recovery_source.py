"""Opens the place that a recovery takes backups from."""

from __future__ import annotations

from pathlib import Path

from ikoma.apps.recovery.source import BackupFolder, BackupSource
from ikoma.errors import RecoveryRefused
from ikoma.settings import Settings


def open_source(address: str, identity: Path | None, settings: Settings) -> BackupSource:
    """Open a place.

    Args:
        address: a folder of backups, or an address as OFFSITE_URL takes it.
        identity: the file with the age key that opens encrypted copies.

    Raises:
        RecoveryRefused: it names no place.
    """
    if "://" not in address:
        return BackupFolder(Path(address).absolute())
    raise RecoveryRefused(f"{address} is no place that backups are kept in.")
