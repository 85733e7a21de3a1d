"""Backups on disk: `NAME.sql` or `NAME.sql.zst` under BACKUPS_ROOT, and its manifest beside it, `.json` behind that.

A dump is whole or absent, is never overwritten, and carries its manifest only once it is on the disk. The manifest is
signed with this server's key, and holds the dump's SHA-256: who may write here, and has not the key, can make none.
"""

from __future__ import annotations

import difflib
import hashlib
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import orjson

from ikoma.apps.signing import BackupKey, read_signed
from ikoma.durable import sweep, sync_folder, write_file
from ikoma.errors import BackupDamaged, BackupExists, BackupForeign, BackupMissing
from ikoma.model import DUMP_ENDINGS, AppName, BackupName
from ikoma.moments import format_moment
from ikoma.ports.databases import Dump

log = logging.getLogger("ikoma")

_WORD_OF_AN_ADMIN = "An admin who trusts it says so: db.restore with `foreign` runs it as the app's own role alone."
_OWN_NAME = r"{}-\d{{8}}-\d{{6}}(-\d+)?\.sql(\.zst)?"


@dataclass(frozen=True, slots=True)
class ProvenBackup:
    """A backup that a restore has proven: its name, and when it was made."""

    name: str
    created_at: str


@dataclass(frozen=True, slots=True)
class BackupManifest:
    """A backup's record. `tables` are rows by table, counted in the dump's own snapshot."""

    app: str
    name: str
    created_at: str
    size: int
    sha256: str
    tables: Mapping[str, int]
    proven_at: str | None = None
    """The time when the backup was restored beside and found whole; None where that was not tried, or failed."""
    restore_seconds: float | None = None
    """The seconds that this restore took."""
    checksums: Mapping[str, str] = field(default_factory=dict)
    """A checksum by table, of the same snapshot; without tables that have none."""
    postgres: str = ""
    """The version of the server that made the checksums, such as "18.6"."""
    dump_seconds: float | None = None
    """The seconds that writing the file took."""


@dataclass(frozen=True, slots=True)
class KnownDump:
    """A dump that this server is known to have made, and to have proven, at `made_at`."""

    app: str
    name: str
    sha256: str
    made_at: str
    tables: Mapping[str, int]


class Backups:
    """All backups under one root."""

    def __init__(self, root: Path, key: BackupKey) -> None:
        self.root = root
        self._key = key
        self._told: set[str] = set()
        """The texts that the log has been told: each list would say them anew."""

    def reserve(
        self, app: AppName, name: BackupName | None, *, others: Iterable[AppName] = (), packed: bool = False
    ) -> Path:
        """Choose the path of a new backup.

        Args:
            others: whose own names, such as OTHER-20260101-120000.sql, this app's backups cannot have.
            packed: whether it is a packed one where it has no name yet.

        Raises:
            BackupExists: there is one of that name.
            BackupForeign: it is a name that another app's backups get.
        """
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        sweep(self.root)
        if name is None:
            return next(path for path in self._propose_names(app, DUMP_ENDINGS[packed]) if not _is_there(path))
        for other in others:
            if other != app and re.fullmatch(_OWN_NAME.format(re.escape(other)), name):
                raise BackupForeign(f"{name} is a name that backups of {other} get.", hint="Choose another backupName.")
        if _is_there(self.root / name):
            raise BackupExists(f"A backup named {name} exists already.")
        return self.root / name

    def _propose_names(self, app: AppName, ending: str) -> Iterator[Path]:
        """The app's name with the time, numbered from the second within a second."""
        own = f"{app}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}"
        yield self.root / f"{own}{ending}"
        for number in count(2):
            yield self.root / f"{own}-{number}{ending}"

    def record(self, app: AppName, dump: Dump, *, restored_in: float | None = None) -> BackupManifest:
        """Write the manifest of a finished dump.

        Args:
            restored_in: seconds that its proof took; None where it has none.
        """
        manifest = BackupManifest(
            app=app,
            name=dump.path.name,
            created_at=_format_now(),
            size=dump.size,
            sha256=dump.sha256,
            tables=dump.tables,
            proven_at=None if restored_in is None else _format_now(),
            restore_seconds=None if restored_in is None else round(restored_in, 3),
            checksums=dump.checksums,
            postgres=dump.postgres,
            dump_seconds=round(dump.seconds, 3),
        )
        self._write(manifest)
        return manifest

    def record_proof(self, manifest: BackupManifest, restored_in: float) -> BackupManifest:
        """Write down that a backup was proven just now, and how many seconds its restore took."""
        proven = replace(manifest, proven_at=_format_now(), restore_seconds=round(restored_in, 3))
        self._write(proven)
        return proven

    def _write(self, manifest: BackupManifest) -> None:
        write_file(self.root / f"{manifest.name}.json", self._key.write_signed(asdict(manifest)), mode=0o600)

    def describe(self, manifest: BackupManifest) -> Dump:
        """The dump that a manifest tells of."""
        return Dump(
            self.root / manifest.name,
            manifest.size,
            manifest.sha256,
            manifest.tables,
            checksums=manifest.checksums,
            postgres=manifest.postgres,
            is_kept=True,
        )

    def remove(self, name: str) -> None:
        """Remove a backup, its manifest first: what is left of a removal that was cut off is a file without one."""
        path = self.root / BackupName.parse(name)
        path.with_name(f"{path.name}.json").unlink(missing_ok=True)
        path.unlink(missing_ok=True)

    def take_in(self, app: AppName, name: BackupName, place: Path) -> None:
        """Take in a dump that came into a folder from elsewhere, with its manifest, once it was compared.

        Args:
            place: a folder on the same filesystem.

        Raises:
            BackupForeign: it is another app's, or not signed by this server.
            BackupDamaged: it is not what its manifest says.
            BackupExists: there is one of that name by now.
        """
        manifest = self._read(place / f"{name}.json")
        if manifest.app != app:
            raise BackupForeign(f"{name} is a backup of {manifest.app}, not of {app}.")
        with (place / name).open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != manifest.sha256:
                raise BackupDamaged(f"{name} is not what its manifest says.")
        try:
            os.link(place / name, self.root / name)  # never over another
        except FileExistsError:
            raise BackupExists(f"A backup named {name} exists already.") from None
        os.rename(place / f"{name}.json", self.root / f"{name}.json")
        sync_folder(self.root)

    def find(self, app: AppName, name: BackupName) -> BackupManifest:
        """Find a backup of this app that can be restored by a call: whole, as far as its manifest tells.

        Raises:
            BackupMissing: there is none of this name.
            BackupForeign: it is another app's, or nobody knows whose: it has no manifest that this server has signed.
            BackupDamaged: its manifest cannot be read, is not what was signed, or is another backup's.
        """
        path = self.root / name
        if not path.is_file() or path.is_symlink():
            near = difflib.get_close_matches(name, [item.name for item in self.list_of(app)], n=1, cutoff=0)
            hint = f"The nearest is {near[0]}." if near else f"{app} has no backup. db.backup makes one."
            raise BackupMissing(f"There is no backup {name}.", hint=hint)
        manifest = self._read(path.with_name(f"{name}.json"))
        if manifest.app != app:
            raise BackupForeign(
                f"{name} is a backup of {manifest.app}, not of {app}.",
                hint="With appName of its app, and `as` of the other, it is restored into that one.",
            )
        return manifest

    def find_latest(self, app: AppName) -> BackupManifest | None:
        """Find the app's newest backup whose file is still there."""
        return max(self.list_of(app), key=lambda manifest: manifest.created_at, default=None)

    def list_of(self, app: AppName) -> list[BackupManifest]:
        """List the app's backups whose files are still there."""
        found = []
        for path in self._list_manifests():
            try:
                manifest = self._read(path)
            except (BackupForeign, BackupDamaged) as error:
                self._tell(f"the backup {path.stem} is left out: {error.message}")
                continue
            if manifest.app == app and path.with_suffix("").is_file():
                found.append(manifest)
        return found

    def sign_former(self, known: Callable[[], Iterable[KnownDump]]) -> list[str]:
        """Sign the manifests that an earlier version wrote, of the dumps that are known to be this server's; names.

        What can be known otherwise is not taken from them: they are not signed, and may be anybody's.

        Args:
            known: lists what this server has written down of its dumps; asked where there is one without a signature.
        """
        unsigned = {}
        for path in self._list_manifests():
            with suppress(OSError):
                if (told := _find_unsigned(path.read_bytes())) is not None:
                    unsigned[path.stem] = told
        done = []
        for dump in known() if unsigned else ():
            if (told := unsigned.get(dump.name)) is None or told.get("sha256") != dump.sha256:
                continue
            try:
                former = BackupManifest(**_select_known(told))
            except TypeError:
                continue
            self._write(
                replace(
                    former,
                    app=dump.app,
                    name=dump.name,
                    created_at=dump.made_at,
                    tables=dump.tables,
                    proven_at=dump.made_at,
                )
            )
            done.append(dump.name)
        return done

    def _list_manifests(self) -> Iterator[Path]:
        for ending in DUMP_ENDINGS:
            yield from self.root.glob(f"*{ending}.json")

    def _read(self, path: Path) -> BackupManifest:
        """Read the manifest of this server's own backup; raises BackupForeign, BackupDamaged."""
        name = path.stem
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise BackupForeign(
                f"{name} has no manifest, so nobody can tell what it would run.", hint=_WORD_OF_AN_ADMIN
            ) from None
        except OSError as error:
            raise BackupDamaged(f"The manifest of {name} cannot be read.") from error
        if _find_unsigned(content) is not None:
            raise BackupForeign(
                f"The manifest of {name} is not signed, so nobody can tell who made it.", hint=_WORD_OF_AN_ADMIN
            )
        signed = read_signed(content, name)
        self._key.require_own(signed.key, name)
        try:
            manifest = BackupManifest(**_select_known(signed.told))
        except TypeError as error:
            raise BackupDamaged(f"The manifest of {name} cannot be read.") from error
        if manifest.name != name:
            raise BackupDamaged(f"{name} is a copy of {manifest.name}, under another name.")
        return manifest

    def _tell(self, words: str) -> None:
        if words not in self._told:
            self._told.add(words)
            log.warning("%s", words)


def _find_unsigned(content: bytes) -> Mapping[str, Any] | None:
    """Find what a manifest tells that nobody has signed, as earlier versions wrote it; None of all else."""
    try:
        stored = orjson.loads(content)
    except ValueError:
        return None
    return stored if isinstance(stored, dict) and "sha256" in stored and "manifest" not in stored else None


def _select_known(told: Mapping[str, Any]) -> dict[str, Any]:
    known = {item.name for item in fields(BackupManifest)}  # a later version may say more
    return {name: value for name, value in told.items() if name in known}


def _format_now() -> str:
    return format_moment(datetime.now(UTC), "milliseconds")


def _is_there(path: Path) -> bool:
    return path.exists() or path.is_symlink()
