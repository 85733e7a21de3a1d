"""Encrypted copies off the machine that was, as backups that a recovery takes."""

from __future__ import annotations

import os
from pathlib import Path

from ikoma.apps.backups.folder import SignedBackup
from ikoma.apps.offsite.copy import OffsiteCopy, list_copies, read_copy
from ikoma.apps.offsite.fetching import fetch
from ikoma.apps.offsite.sealing import Opener
from ikoma.apps.offsite.store import open_store
from ikoma.apps.recovery.source import MANIFEST, OfferedBackup, require_whole
from ikoma.errors import BackupDamaged, OffsiteDamaged, OffsiteMissing, OffsiteSealed
from ikoma.offsite_place import OffsitePlace
from ikoma.ports.progress import ignore_progress


class OffsiteBackups:
    """The copies in a store."""

    def __init__(self, place: OffsitePlace, identity: Path | None) -> None:
        """
        Args:
            identity: the file with the secret key; None opens nothing.

        Raises:
            OffsiteSealed: there is no such file, or no secret key in it.
        """
        self._place = place
        self._store = open_store(place)
        with _Hinting():
            self._opener = Opener(identity or place.identity_file)

    @property
    def name(self) -> str:
        return str(self._place)

    def list_backups(self) -> list[OfferedBackup]:
        found, _ = list_copies(self._store, None)
        return [_offer(copy) for copy in found if copy.name.endswith(".backup")]

    def fetch(self, offer: OfferedBackup, place: Path) -> SignedBackup:
        try:
            copy = read_copy(self._store, offer.app, offer.name, None)
            with _Hinting():
                fetch(self._store, self._opener, copy, place, ignore_progress)
        except (OffsiteDamaged, OffsiteMissing) as error:
            raise BackupDamaged(error.message) from error
        inside = place / offer.name
        if not (place / MANIFEST).is_file() and inside.is_dir():
            for path in inside.iterdir():
                os.rename(path, place / path.name)
            inside.rmdir()
        return require_whole(place, offer)


class _Hinting:
    """Says how a person gives the key who recovers a server: it has no settings yet."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if isinstance(error, OffsiteSealed):
            error.hint = "--identity names the file of the secret age key that belongs to the backups."


def _offer(copy: OffsiteCopy) -> OfferedBackup:
    return OfferedBackup(copy.owner, copy.name, copy.created_at, copy.size, copy.proven_at, copy.key)
