"""Opens the place that a recovery takes backups from."""

from __future__ import annotations

from pathlib import Path

from ikoma.apps.recovery.source import BackupFolder, BackupSource
from ikoma.errors import RecoveryRefused
from ikoma.settings import load_offsite_place


def open_source(address: str, identity: Path | None) -> BackupSource:
    """Open a place.

    Args:
        address: a folder of backups, or an address as OFFSITE_URL takes it.
        identity: the file with the age key that opens encrypted copies.

    Raises:
        InvalidSetting: it names no place.
        OffsiteSealed: the key cannot be read.
    """
    if "://" not in address:
        return BackupFolder(Path(address).absolute())
    from ikoma.apps.recovery.offsite import OffsiteBackups  # with libraries that a folder does not need

    place = load_offsite_place(address)
    if place is None:
        raise RecoveryRefused("--from names no place.")
    return OffsiteBackups(place, identity)
