"""Backups under BACKUPS_ROOT that this server did not make, or cannot know for its own: what an admin vouches for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ikoma.apps.backups.folder import DUMP, MANIFEST, PARALLEL_DUMP, describe_files, read_manifest
from ikoma.apps.backups.names import AnyBackupName
from ikoma.errors import BackupDamaged, BackupForeign, BackupMissing
from ikoma.model import DUMP_ENDINGS
from ikoma.ports.databases import Dump


@dataclass(frozen=True, slots=True)
class ForeignBackup:
    """A dump that somebody else made: where it is, and what its own manifest tells, where it has one."""

    name: str
    path: Path
    size: int
    told: Dump | None


def find_foreign(root: Path, name: AnyBackupName) -> ForeignBackup:
    """Find a dump of this name, or the dump in a whole backup of this name, whoever made it.

    Raises:
        BackupMissing: there is none.
        BackupDamaged: it is not what its own manifest says.
    """
    place = root / name
    path = place if name.endswith(DUMP_ENDINGS) else place / DUMP
    if not path.exists() and (place / PARALLEL_DUMP).is_dir():
        raise BackupForeign(
            f"The dump in {name} is in PostgreSQL's directory format, which is not restored from elsewhere.",
            hint="Make plain SQL of it: `pg_restore --no-owner --no-privileges --file=FILE FOLDER`.",
        )
    if place.is_symlink() or path.is_symlink() or not path.is_file():
        raise BackupMissing(f"There is no backup {name}, or no database in it.", next=())
    told = _read_told(place, name) if path != place and (place / MANIFEST).is_file() else None
    return ForeignBackup(name, path, path.stat().st_size, told)


def _read_told(place: Path, name: str) -> Dump | None:
    backup = read_manifest(place, name).backup
    if backup.database is None:
        return None
    if describe_files(place, [DUMP]) != {DUMP: backup.files.get(DUMP)}:
        raise BackupDamaged(f"{name} is not what its manifest says: {DUMP} is another, or is not there.")
    try:
        return backup.describe_dump(place)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BackupDamaged(f"The manifest of {name} cannot be read.") from error
