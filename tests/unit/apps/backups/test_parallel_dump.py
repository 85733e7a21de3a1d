"""A whole backup whose dump is a folder, on every way that a backup goes: each file of it arrives, compared."""

from __future__ import annotations

import io
import tarfile
from dataclasses import replace
from pathlib import Path

import pyrage
import pytest

from ikoma.apps.app import Apps
from ikoma.apps.backups.archive import take_inventory, unpack, write_folder
from ikoma.apps.backups.downloads import pack_folder
from ikoma.apps.backups.folder import AppBackup, AppBackups, describe_files
from ikoma.apps.backups.names import AppBackupName
from ikoma.apps.offsite.copy import read_copy
from ikoma.apps.offsite.fetching import fetch
from ikoma.apps.offsite.folder_store import FolderStore
from ikoma.apps.offsite.keeping import describe_backup_files
from ikoma.apps.offsite.sealing import Opener, Seal
from ikoma.apps.offsite.sending import Shipment, send
from ikoma.apps.recovery.entries import make_entry
from ikoma.apps.recovery.offsite import OffsiteBackups
from ikoma.apps.recovery.source import BackupFolder, BackupSource
from ikoma.apps.signing import BackupKey
from ikoma.apps.trash.entries import TrashEntry
from ikoma.errors import BackupDamaged
from ikoma.model import AppName
from ikoma.offsite_place import OffsitePlace
from ikoma.ports.progress import ignore_progress

SHOP, NAME = AppName("shop"), AppBackupName("shop-1.backup")
DUMP = {"database/toc.dat": b"contents", "database/3001.dat": b"1\tone\n\\.\n\n\n", "database/3002.dat": b""}


class Server:
    """Backups under one root, with one of an app whose dump is a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.key = BackupKey(path / "backups.key")
        self.backups = AppBackups(path / "backups", self.key)
        (path / "app").mkdir()
        (path / "app" / "compose.yml").write_text("services: {}")
        with self.backups.work() as place:
            with (place / "folder.tar").open("wb") as stream:
                write_folder(path / "app", stream)
            (place / "database").mkdir()
            for name, content in DUMP.items():
                (place / name).write_bytes(content)
            inventory = take_inventory(place / "folder.tar")
            self.backup = AppBackup(
                app=SHOP,
                name=NAME,
                created_at="2026-11-30T10:00:00.000Z",
                ikoma="2.0",
                seconds=1.0,
                files=describe_files(place),
                folder={"entries": inventory.entries, "size": inventory.size, "digest": inventory.digest},
                database={"tables": {"t": 1}, "checksums": {}, "postgres": "18.0", "seconds": 1.0},
                proven_at="2026-11-30T10:00:01.000Z",
            )
            self.backups.keep(place, self.backup)

    @property
    def place(self) -> Path:
        return self.backups.root / NAME

    def require_whole(self, place: Path) -> None:
        self.backup.require_files(place)
        assert {name: (place / name).read_bytes() for name in DUMP} == DUMP

    def send(self) -> OffsitePlace:
        """Send the backup off the machine; the place."""
        identity = pyrage.x25519.Identity.generate()
        identity_file = self.path / "identity"
        identity_file.write_text(str(identity))
        (self.path / "far").mkdir()
        recipient = str(identity.to_public())
        place = OffsitePlace(
            kind="file", path=str(self.path / "far"), recipients=(recipient,), identity_file=identity_file
        )
        local = describe_backup_files(self.backups, self.backup)
        shipment = Shipment(SHOP, NAME, local.created_at, local.files, local.proven_at)
        journal = self.path / "journal"
        send(FolderStore(place), Seal([recipient]), self.key, shipment, journal, ignore_progress)
        return place


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


def test_it_comes_back_where_the_far_copy_alone_is_left(server: Server) -> None:
    there = server.send()
    server.backups.remove(NAME)
    store = FolderStore(there)
    with server.backups.work() as place:
        copy = read_copy(store, SHOP, NAME, server.key)
        fetch(store, Opener(there.identity_file), copy, place, ignore_progress)
        server.backups.take_in(SHOP, NAME, place)
    server.require_whole(server.place)
    told = server.backups.describe_database(server.backups.find(SHOP, NAME))
    assert (told.name, told.size) == (f"{NAME}/database", sum(map(len, DUMP.values())))


@pytest.mark.parametrize("name", DUMP)
def test_a_file_of_it_that_is_another_or_gone_is_found_before_a_restore(server: Server, name: str) -> None:
    (server.place / name).write_bytes(b"another")
    with pytest.raises(BackupDamaged):
        server.backups.describe_database(server.backup)
    (server.place / name).unlink()
    with pytest.raises(BackupDamaged):
        server.backups.describe_database(server.backup)


def test_a_new_server_takes_it_from_a_folder_and_from_off_site(server: Server, tmp_path: Path) -> None:
    sources: tuple[BackupSource, ...] = (BackupFolder(server.backups.root), OffsiteBackups(server.send(), None))
    for number, source in enumerate(sources):
        (offer,) = source.list_backups()
        place = tmp_path / f"new-{number}"
        place.mkdir()
        assert source.fetch(offer, place).backup == server.backup
        server.require_whole(place)


def test_its_entry_in_the_trash_holds_the_folder_and_survives_a_backup_of_the_server(
    server: Server, tmp_path: Path
) -> None:
    apps = Apps(tmp_path / "apps")
    entry = TrashEntry(apps.root / ".ikoma" / "trash" / make_entry(apps, server.backup, server.place))
    server.backups.remove(NAME)
    packed = tmp_path / "entry.tar"
    with packed.open("wb") as stream:
        write_folder(entry.path, stream)
    unpack(packed, tmp_path / "again")
    for kept in (entry, TrashEntry(tmp_path / "again")):
        assert kept.dump.is_dir()
        assert "database" in kept.list_parts()
        assert {f"database/{path.name}": path.read_bytes() for path in kept.dump.iterdir()} == DUMP
        assert kept.rows == {"t": 1}


def test_it_is_downloaded_as_a_tar_file_with_the_folder_inside(server: Server) -> None:
    packed = pack_folder(server.place, server.backup.files, "manifest.json")
    content = b"".join(packed.read(0, packed.size))
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        found = {item.name: _read(archive, item) for item in archive}
    assert {name: found[f"{NAME}/{name}"] for name in DUMP} == DUMP
    assert len(found) == len(server.backup.files) + 1
    harmed = replace(server.backup, files={**server.backup.files, "database/9.dat": {"size": 0, "sha256": ""}})
    with pytest.raises(BackupDamaged):
        pack_folder(server.place, harmed.files, "manifest.json")


def _read(archive: tarfile.TarFile, item: tarfile.TarInfo) -> bytes:
    stream = archive.extractfile(item)
    assert stream is not None
    return stream.read()
