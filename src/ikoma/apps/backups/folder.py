"""Backups of whole apps on disk: a folder `NAME.backup` under BACKUPS_ROOT with its parts and one signed manifest.

A backup is made under another name, which a living writer holds locked, and gets its own by one rename, once all in it
is on the disk. What a killed server has left is removed by the next start, and by the next backup.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from itertools import count
from pathlib import Path
from typing import Any

from ikoma.apps.backups.names import AppBackupName
from ikoma.apps.database.backups import BackupManifest
from ikoma.apps.signing import BackupKey, read_signed
from ikoma.durable import remove_tree, sync_folder, write_file
from ikoma.errors import BackupDamaged, BackupExists, BackupForeign, BackupMissing, Next
from ikoma.model import AppName
from ikoma.ports.databases import Dump

log = logging.getLogger("ikoma")

MAKING = ".ikoma-backup-"
DUMP, FOLDER, STATE, VOLUMES = "database.sql", "folder.tar", "state.tar", "volumes"
PARALLEL_DUMP = "database"
"""The folder of a dump that several workers have written."""
MANIFEST = "manifest.json"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW


@dataclass(frozen=True, slots=True)
class AppBackup:
    """The record of a backup: what it holds, of when, and when it was proven. Moments are RFC 3339 in UTC."""

    app: str
    name: str
    created_at: str
    ikoma: str
    """IKOMA's version."""
    seconds: float
    """The seconds that making it took, without the proof."""
    files: Mapping[str, Mapping[str, Any]]
    """Path inside the backup → its `size` in bytes and `sha256`."""
    folder: Mapping[str, Any]
    """Contents of folder.tar: `entries`, `size`, `digest`."""
    volumes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Volume → the same, its `consistency`, and how it was made: `driver`, `options`, `labels`."""
    database: Mapping[str, Any] | None = None
    """`tables`, `checksums`, `postgres`, `seconds`; None where the app has none."""
    release: str | None = None
    """The release that served."""
    migration: str | None = None
    """The newest migration that the database had."""
    running: bool = False
    """Whether the app ran meanwhile: its folder is then of several moments."""
    held_seconds: float = 0.0
    """The seconds for which writers of its volumes were held still; 0 where none were."""
    proven_at: str | None = None
    restore_seconds: float | None = None
    """The seconds that restoring all of it took when it was proven."""

    @property
    def size(self) -> int:
        return sum(int(item["size"]) for item in self.files.values())

    @property
    def has_parallel_dump(self) -> bool:
        """Whether its dump is a folder that several workers have written."""
        return self.database is not None and DUMP not in self.files

    @property
    def dump_files(self) -> Mapping[str, Mapping[str, Any]]:
        """The files of it that its dump consists of."""
        return {name: told for name, told in self.files.items() if name == DUMP or name.startswith(f"{PARALLEL_DUMP}/")}

    @property
    def dump(self) -> str:
        """The path of its dump inside it."""
        return PARALLEL_DUMP if self.has_parallel_dump else DUMP

    @property
    def dump_size(self) -> int:
        """Bytes of its dump."""
        return sum(int(told["size"]) for told in self.dump_files.values())

    @property
    def dump_sha256(self) -> str:
        """The SHA-256 of its dump; "" where that is a folder, each file of which has its own."""
        return "" if self.has_parallel_dump else str(self.files[DUMP]["sha256"])

    def describe_dump(self, place: Path) -> Dump | None:
        """The dump inside a backup in a folder; None where the app has no database.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: of a manifest that this server has not signed.
        """
        if self.database is None:
            return None
        told = self.database
        return Dump(
            place / self.dump,
            self.dump_size,
            self.dump_sha256,
            {str(table): int(rows) for table, rows in told["tables"].items()},
            checksums={str(table): str(checksum) for table, checksum in told["checksums"].items()},
            postgres=str(told["postgres"]),
            is_kept=True,
        )

    def require_files(self, place: Path) -> None:
        """Compare each file of it with what was signed.

        Raises:
            BackupDamaged: one is missing, was cut off or is another.
        """
        found = describe_files(place, tuple(self.files))
        for name, told in self.files.items():
            if name not in found:
                raise BackupDamaged(f"{self.name} is not whole: {name} is not there.")
            if found[name] != told:
                said = f"has {found[name]['size']} bytes and not {told['size']}"
                other = said if found[name]["size"] != told["size"] else "is another than was signed"
                raise BackupDamaged(f"{self.name} is not what its manifest says: {name} {other}.")


@dataclass(frozen=True, slots=True)
class SignedBackup:
    """A backup, and the public key that signed it, in hexadecimal."""

    backup: AppBackup
    key: str


def read_manifest(path: Path, name: str | None = None) -> SignedBackup:
    """Read the manifest of a backup, whoever signed it.

    Args:
        name: the backup's name where the folder has another one yet.

    Raises:
        BackupDamaged: it cannot be read, or is not what was signed, or is another backup's.
    """
    name = name or path.name
    try:
        signed = read_signed((path / MANIFEST).read_bytes(), name)
        known = {item.name for item in fields(AppBackup)}  # a later version may say more
        backup = AppBackup(**{item: value for item, value in signed.told.items() if item in known})
    except (OSError, TypeError) as error:
        raise BackupDamaged(f"The manifest of {name} cannot be read.") from error
    if backup.name != name:
        raise BackupDamaged(f"{name} is a copy of {backup.name}, under another name.")
    return SignedBackup(backup, signed.key)


class AppBackups:
    """All backups of whole apps under one root."""

    def __init__(self, root: Path, key: BackupKey) -> None:
        self.root = root
        self._key = key

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the key by which this server knows its own backups."""
        return self._key.fingerprint

    def reserve(self, app: AppName, name: AppBackupName | None) -> AppBackupName:
        """Choose the name of a new backup; BackupExists where there is one of that name."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        if name is None:
            own = f"{app}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}"
            proposed = (AppBackupName(f"{own}{'' if n == 1 else f'-{n}'}.backup") for n in count(1))
            return next(item for item in proposed if not os.path.lexists(self.root / item))
        if os.path.lexists(self.root / name):
            raise BackupExists(f"A backup named {name} exists already.")
        return name

    @contextmanager
    def work(self) -> Iterator[Path]:
        """A folder for the block, that nobody lists; it is gone afterwards, with a killed server by the next start."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        place = self.root / f"{MAKING}{secrets.token_hex(6)}"
        with _locked(self.root):  # nobody looks between these two
            place.mkdir(mode=0o700)
            held = os.open(place, _DIRECTORY)
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            yield place
        finally:
            if place.exists():
                remove_tree(place)
            os.close(held)

    def keep(self, place: Path, backup: AppBackup) -> None:
        """Write the manifest of what a work folder holds, and give it its name; BackupExists where that is taken."""
        self.record(place, backup)
        self.adopt(place, backup.name)

    def adopt(self, place: Path, name: str) -> None:
        """Give a work folder with a whole backup its name; BackupExists where that is taken."""
        for folder in (place / VOLUMES, place):
            if folder.is_dir():
                sync_folder(folder)
        target = self.root / name
        try:
            os.rename(place, target)  # a folder with anything in it is never replaced
        except OSError as error:
            if os.path.lexists(target):
                raise BackupExists(f"A backup named {name} exists already.") from error
            raise
        sync_folder(self.root)

    def take_in(self, app: AppName, name: AppBackupName, place: Path) -> None:
        """Give its name to a backup that came into a work folder from elsewhere, once it was compared.

        Raises:
            BackupForeign: it is another app's or another server's.
            BackupDamaged: a file is not what its manifest says.
            BackupExists: there is one of that name by now.
        """
        signed = read_manifest(place, name)
        self._key.require_own(signed.key, name)
        if signed.backup.app != app:
            raise BackupForeign(f"{name} is a backup of {signed.backup.app}, not of {app}.")
        signed.backup.require_files(place)
        self.adopt(place, name)

    def record(self, place: Path, backup: AppBackup) -> None:
        """Write the manifest, signed."""
        write_file(place / MANIFEST, self._key.write_signed(asdict(backup)), mode=0o600)

    def find(self, app: AppName, name: AppBackupName) -> AppBackup:
        """Find a backup of this app.

        Raises:
            BackupMissing: there is none of this name.
            BackupForeign: it is another app's or another server's.
            BackupDamaged: its manifest cannot be read, or is not what was signed.
        """
        path = self.root / name
        if not path.is_dir() or path.is_symlink():
            raise BackupMissing(
                f"There is no backup {name}.", hint=f"backup.list names those of {app}.", next=Next("backup.list")
            )
        backup = self.read(path)
        if backup.app != app:
            raise BackupForeign(f"{name} is a backup of {backup.app}, not of {app}.")
        return backup

    def list_of(self, app: AppName) -> list[AppBackup]:
        """List the app's backups, newest first. What is not this server's, or cannot be read, is left out."""
        found = []
        for path in self.root.glob("*.backup"):
            try:
                backup = self.read(path)
            except (BackupForeign, BackupDamaged) as error:
                log.warning("the backup %s is left out: %s", path.name, error.message)
                continue
            if backup.app == app:
                found.append(backup)
        return sorted(found, key=lambda item: item.created_at, reverse=True)

    def describe_database(self, backup: AppBackup) -> BackupManifest:
        """The dump in a backup, as db.restore takes one; its file is as it was signed.

        Raises:
            BackupMissing: there is no database in it.
            BackupDamaged: the file is another than was signed.
        """
        if (told := backup.database) is None:
            raise BackupMissing(f"{backup.name} holds no database.")
        if describe_files(self.root / backup.name, tuple(backup.dump_files)) != backup.dump_files:
            said = f"{backup.dump} is another, or is not there"
            raise BackupDamaged(f"{backup.name} is not what its manifest says: {said}.")
        return BackupManifest(
            app=backup.app,
            name=f"{backup.name}/{backup.dump}",
            created_at=backup.created_at,
            size=backup.dump_size,
            sha256=backup.dump_sha256,
            tables=told["tables"],
            proven_at=backup.proven_at,
            checksums=told["checksums"],
            postgres=told["postgres"],
        )

    def remove(self, name: AppBackupName) -> None:
        """Remove a backup; it is listed no more from the first moment on."""
        place = self.root / f"{MAKING}{secrets.token_hex(6)}"
        os.rename(self.root / name, place)
        sync_folder(self.root)
        remove_tree(place)

    def list_left(self) -> list[Path]:
        """List the work folders of killed servers."""
        if not self.root.is_dir():
            return []
        with _locked(self.root):
            return [path for path in self.root.glob(f"{MAKING}*") if not _is_held(path)]

    def read(self, path: Path) -> AppBackup:
        """Read a backup of this server; raises BackupForeign, BackupDamaged."""
        signed = read_manifest(path)
        self._key.require_own(signed.key, path.name)
        return signed.backup


def describe_files(place: Path, names: Sequence[str] | None = None) -> dict[str, dict[str, Any]]:
    """Size and SHA-256 of these files in a backup, as far as they are there; of all where none are named."""
    if names is None:
        names = sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.is_file())
    return {name: _describe_file(place / name) for name in names if (place / name).is_file()}


def _describe_file(path: Path) -> dict[str, Any]:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return {"size": stream.tell(), "sha256": digest}


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    held = os.open(folder, _DIRECTORY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def _is_held(path: Path) -> bool:
    try:
        held = os.open(path, _DIRECTORY)
    except OSError:
        return True  # it went a moment ago
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(held)
    return False
