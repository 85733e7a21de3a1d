"""The places that a new server takes backups from, and what they offer."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ikoma.apps.backups.folder import MAKING, SignedBackup, read_manifest
from ikoma.durable import open_file, open_whole_file, translate_disk_full
from ikoma.errors import BackupDamaged, BackupForeign, BackupMissing, RecoveryRefused

MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class OfferedBackup:
    """A backup that a place has. Moments are RFC 3339 in UTC.

    Args:
        app: whose it is; the server's own state is `ikoma`'s.
        key: the public key that signed it, in hexadecimal.
    """

    app: str
    name: str
    created_at: str
    size: int
    proven_at: str | None
    key: str


class BackupSource(Protocol):
    """A place with backups of one or several servers."""

    @property
    def name(self) -> str:
        """The place as a person wrote it."""

    def list_backups(self) -> list[OfferedBackup]:
        """List the backups that are there, as far as somebody has signed them."""

    def fetch(self, offer: OfferedBackup, place: Path) -> SignedBackup:
        """Bring a backup into an empty folder, and compare each file of it with what was signed.

        Raises:
            BackupDamaged: a file is missing, was cut off or is another.
        """


class BackupFolder:
    """A folder with backups of whole apps, such as a BACKUPS_ROOT that was mounted or copied."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def name(self) -> str:
        return str(self._folder)

    def list_backups(self) -> list[OfferedBackup]:
        if not self._folder.is_dir():
            raise RecoveryRefused(f"There is no folder {self._folder}.", hint="Is it mounted?")
        return list(self._list())

    def fetch(self, offer: OfferedBackup, place: Path) -> SignedBackup:
        there = self._folder / offer.name
        signed = read_manifest(there)
        for name in (MANIFEST, *signed.backup.files):
            (place / name).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            try:
                with (
                    translate_disk_full(),
                    os.fdopen(open_file(there / name), "rb") as stream,
                    open_whole_file(place / name, mode=0o600) as target,
                ):
                    shutil.copyfileobj(stream, target, 1 << 20)
            except FileNotFoundError:
                raise BackupDamaged(f"{offer.name} is not whole: {name} is not there.") from None
        return require_whole(place, offer)

    def _list(self) -> Iterator[OfferedBackup]:
        for path in sorted(self._folder.glob("*.backup")):
            if not path.name.startswith(MAKING):
                with suppress(BackupDamaged, BackupForeign):
                    signed = read_manifest(path)
                    backup = signed.backup
                    yield OfferedBackup(
                        backup.app, backup.name, backup.created_at, backup.size, backup.proven_at, signed.key
                    )


def require_whole(place: Path, offer: OfferedBackup) -> SignedBackup:
    """The backup in a folder, once each of its files was compared with what was signed.

    Raises:
        BackupDamaged: a file is missing, was cut off or is another, or it is another backup than was offered.
    """
    signed = read_manifest(place, offer.name)
    if (signed.key, signed.backup.app) != (offer.key, offer.app):
        raise BackupDamaged(f"{offer.name} is another backup than was offered.")
    signed.backup.require_files(place)
    return signed


def choose(offers: list[OfferedBackup], app: str, *, key: str | None = None) -> list[OfferedBackup]:
    """Choose the backups of an app, the best first: proven ones, of these the newest.

    Args:
        key: of the server that has to have signed them.

    Raises:
        BackupMissing: there is none.
    """
    found = [item for item in offers if item.app == app and key in (None, item.key)]
    if not found:
        raise BackupMissing(f"There is no backup of {app}.")
    return sorted(found, key=lambda item: (item.proven_at is not None, item.created_at), reverse=True)
