"""Backups of whole apps on disk: signed, named by one rename, and what is left of a killed server."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from ikoma.apps.backups.folder import AppBackup, AppBackups
from ikoma.apps.backups.names import AppBackupName
from ikoma.apps.signing import BackupKey
from ikoma.errors import BackupDamaged, BackupExists, BackupForeign, BackupMissing
from ikoma.model import AppName

APP, NAME = AppName("shop"), AppBackupName("shop-1.backup")
BACKUP = AppBackup(
    app="shop",
    name=NAME,
    created_at="2026-11-30T10:00:00.000Z",
    ikoma="2.0",
    seconds=1.25,
    files={"folder.tar": {"size": 3, "sha256": "00"}},
    folder={"entries": 1, "size": 0, "digest": "ü"},
)


@pytest.fixture
def backups(tmp_path: Path) -> AppBackups:
    return AppBackups(tmp_path / "backups", BackupKey(tmp_path / "key"))


def keep(backups: AppBackups, backup: AppBackup = BACKUP) -> Path:
    with backups.work() as place:
        (place / "folder.tar").write_bytes(b"tar")
        backups.keep(place, backup)
    return backups.root / backup.name


def test_a_backup_is_there_whole_and_found_by_its_app(backups: AppBackups) -> None:
    path = keep(backups)
    assert backups.find(APP, NAME) == BACKUP
    assert backups.list_of(APP) == [BACKUP]
    assert backups.list_of(AppName("other")) == []
    assert [item.name for item in backups.root.iterdir()] == [path.name]
    later = replace(BACKUP, name="shop-2.backup", created_at="2026-12-01T10:00:00.000Z", proven_at="x")
    keep(backups, later)
    assert backups.list_of(APP) == [later, BACKUP]


def test_an_existing_one_is_never_replaced(backups: AppBackups) -> None:
    keep(backups)
    with pytest.raises(BackupExists):
        backups.reserve(APP, NAME)
    with pytest.raises(BackupExists):
        keep(backups)
    assert len(list(backups.root.iterdir())) == 1
    first = backups.reserve(APP, None)
    keep(backups, replace(BACKUP, name=first))
    assert backups.reserve(APP, None) != first


def test_what_was_edited_truncated_copied_or_made_elsewhere_is_refused(backups: AppBackups, tmp_path: Path) -> None:
    manifest = keep(backups) / "manifest.json"
    whole = manifest.read_bytes()
    edited = json.loads(whole)
    edited["manifest"]["app"] = "other"
    manifest.write_text(json.dumps(edited))
    with pytest.raises(BackupDamaged, match="not what was signed"):
        backups.find(APP, NAME)
    for content in (whole[:-9], b"[]", b"", b'{"manifest": 1, "key": "", "signature": ""}'):
        manifest.write_bytes(content)
        with pytest.raises((BackupDamaged, BackupForeign)):
            backups.find(APP, NAME)
    assert backups.list_of(APP) == []
    manifest.write_bytes(whole)
    shutil.copytree(backups.root / NAME, backups.root / "copy.backup")
    with pytest.raises(BackupDamaged, match="a copy of"):
        backups.find(APP, AppBackupName("copy.backup"))
    with pytest.raises(BackupForeign, match="another server"):
        AppBackups(backups.root, BackupKey(tmp_path / "another")).find(APP, NAME)
    with pytest.raises(BackupForeign, match="a backup of shop"):
        backups.find(AppName("other"), NAME)
    with pytest.raises(BackupMissing):
        backups.find(APP, AppBackupName("no.backup"))


def test_the_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    key = BackupKey(tmp_path / "key")
    public, signature = key.sign(b"content")
    BackupKey(tmp_path / "key").check(b"content", public, signature, "x")
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    for wrong in ("00" * 64, "no hex", signature[:-2]):
        with pytest.raises(BackupDamaged):
            key.check(b"content", public, wrong, "x")


def test_work_goes_with_its_block_and_a_killed_servers_is_found(backups: AppBackups) -> None:
    with backups.work() as place:
        assert backups.list_left() == []
        assert backups.list_of(APP) == []
    assert not place.exists()
    left = backups.root / ".ikoma-backup-0123456789ab"
    left.mkdir()
    assert backups.list_left() == [left]


def test_a_removed_one_is_gone(backups: AppBackups) -> None:
    path = keep(backups)
    backups.remove(NAME)
    assert not path.exists()
    assert list(backups.root.iterdir()) == []


@pytest.mark.parametrize("name", ["../x.backup", "a/b.backup", ".backup", "-x.backup", "x.sql", "x.backup ", ""])
def test_names_have_no_path(name: str) -> None:
    with pytest.raises(ValueError, match=r"ending \.backup"):
        AppBackupName.parse(name)
