"""Copies in a folder: sent, read back, fetched; and what is done to them there meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pyrage
import pytest

from ikoma.apps.offsite.copy import OffsiteCopy, delete_copy, list_copies, read_copy
from ikoma.apps.offsite.fetching import fetch
from ikoma.apps.offsite.folder_store import FolderStore
from ikoma.apps.offsite.packing import PART_BYTES
from ikoma.apps.offsite.sealing import Opener, Seal
from ikoma.apps.offsite.sending import Shipment, send
from ikoma.apps.signing import BackupKey
from ikoma.errors import (
    BackupForeign,
    IkomaError,
    OffsiteDamaged,
    OffsiteMissing,
    OffsiteSealed,
    OffsiteUnreachable,
)
from ikoma.offsite_place import OffsitePlace
from ikoma.ports.progress import ignore_progress

BIG = PART_BYTES * 2 + 12_345


class Bench:
    """A folder as a store, a signing key, an age key, and a backup of two files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        identity = pyrage.x25519.Identity.generate()
        self.recipient = str(identity.to_public())
        self.identity = write(path / "key.txt", f"# a comment\n{identity}\n".encode())
        self.root = path / "store"
        self.root.mkdir()
        self.store = FolderStore(OffsitePlace(kind="file", path=str(self.root), recipients=(self.recipient,)))
        self.key = BackupKey(path / "backups.key")
        self.journal = path / "journal"
        self.files = {
            "manifest.json": write(path / "manifest.json", b"{}"),
            "volumes/shop_data.tar": write(path / "volume.tar", os.urandom(BIG)),
        }

    def send(self, name: str = "shop-1.backup", store: FolderStore | None = None) -> OffsiteCopy:
        shipment = Shipment("shop", name, "2026-11-30T10:00:00.000Z", self.files, proven_at="2026-11-30T10:00:01.000Z")
        return send(store or self.store, Seal([self.recipient]), self.key, shipment, self.journal, ignore_progress)

    def fetch(self, copy: OffsiteCopy, identity: Path | None = None) -> Path:
        target = self.path / f"fetched-{os.urandom(4).hex()}"
        target.mkdir()
        fetch(self.store, Opener(identity or self.identity), copy, target, ignore_progress)
        return target


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_what_was_sent_is_fetched_as_it_was_and_is_not_readable_there(bench: Bench) -> None:
    copy = bench.send()
    target = bench.fetch(read_copy(bench.store, "shop", "shop-1.backup", bench.key))
    assert {name: (target / name).read_bytes() for name in bench.files} == {
        name: path.read_bytes() for name, path in bench.files.items()
    }
    assert len(copy.parts) == 3
    assert not bench.journal.exists()
    inside = bench.files["volumes/shop_data.tar"].read_bytes()[:4096]
    for path in bench.root.rglob("*"):
        assert path.is_dir() or (inside not in path.read_bytes() and b"shop_data" not in path.read_bytes())
    assert list_copies(bench.store, bench.key) == ([copy], 0)
    delete_copy(bench.store, copy)
    assert list(bench.root.iterdir()) == []


class Failing(FolderStore):
    """A place that fails from some part on."""

    def __init__(self, root: Path, after: int) -> None:
        super().__init__(OffsitePlace(kind="file", path=str(root), recipients=()))
        self.left = after
        self.puts: list[str] = []

    def put(self, name: str, content: bytes, digest: bytes) -> None:
        number = name.rpartition("/")[2].partition(".")[0]
        if number.isdigit() and int(number) > self.left:  # two are under way at once, in any order
            raise OffsiteUnreachable("It went away.")
        self.puts.append(name)
        super().put(name, content, digest)


def test_a_sender_that_was_cut_off_goes_on_with_what_is_missing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ikoma.apps.offsite.sending._PAUSE", 0)
    with pytest.raises(OffsiteUnreachable):
        bench.send(store=Failing(bench.root, 1))
    assert list_copies(bench.store, bench.key) == ([], 0)
    again = Failing(bench.root, 100)
    copy = bench.send(store=again)
    assert len(again.puts) == 3  # two parts and the record
    bench.fetch(copy)


def test_another_content_of_that_name_is_sent_from_the_beginning(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ikoma.apps.offsite.sending._PAUSE", 0)
    with pytest.raises(OffsiteUnreachable):
        bench.send(store=Failing(bench.root, 1))
    bench.files["volumes/shop_data.tar"].write_bytes(os.urandom(BIG))
    again = Failing(bench.root, 100)
    bench.fetch(bench.send(store=again))
    assert len(again.puts) == 4


class Lying(FolderStore):
    """A place that says yes, and keeps something else."""

    def put(self, name: str, content: bytes, digest: bytes) -> None:
        super().put(name, content[:-1] + bytes([content[-1] ^ 1]), digest)


def test_a_place_that_keeps_something_else_is_found_out(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ikoma.apps.offsite.sending._PAUSE", 0)
    lying = Lying(OffsitePlace(kind="file", path=str(bench.root), recipients=()))
    with pytest.raises(OffsiteDamaged, match="read back"):
        bench.send(store=lying)
    assert list_copies(bench.store, bench.key) == ([], 0)


def damage(copy: OffsiteCopy, bench: Bench) -> Iterator[None]:
    part = bench.root / copy.name_part(2)
    whole = part.read_bytes()
    for content in (whole[:-1], whole + b"x", whole[:-1] + bytes([whole[-1] ^ 1]), b""):
        part.write_bytes(content)
        yield
    part.write_bytes((bench.root / copy.name_part(1)).read_bytes())
    yield
    part.unlink()
    yield
    part.symlink_to("/etc/passwd")
    yield


def test_a_part_that_was_cut_edited_swapped_or_taken_away_is_refused(bench: Bench) -> None:
    copy = bench.send()
    for _ in damage(copy, bench):
        with pytest.raises(IkomaError) as told:
            bench.fetch(copy)
        assert isinstance(told.value, OffsiteDamaged | OffsiteMissing | OffsiteUnreachable)


def test_the_wrong_key_no_key_and_a_file_without_one_open_nothing(bench: Bench) -> None:
    copy = bench.send()
    other = write(bench.path / "other.txt", str(pyrage.x25519.Identity.generate()).encode())
    with pytest.raises(OffsiteSealed, match="no key in"):
        bench.fetch(copy, other)
    for file in (None, bench.path / "none.txt", write(bench.path / "public.txt", bench.recipient.encode())):
        with pytest.raises(OffsiteSealed):
            Opener(file).open(b"", "A copy")


def test_a_record_that_was_edited_moved_or_signed_by_another_is_refused(bench: Bench, tmp_path: Path) -> None:
    copy = bench.send()
    record = bench.root / copy.folder / "copy.json"
    whole = record.read_bytes()
    other = BackupKey(tmp_path / "other.key")
    with pytest.raises(BackupForeign):
        read_copy(bench.store, "shop", copy.name, other)
    assert read_copy(bench.store, "shop", copy.name, None) == copy
    for content in (whole.replace(b"2026", b"2027"), whole[:-9], b"[]", b""):
        record.write_bytes(content)
        for key in (bench.key, None):
            with pytest.raises(OffsiteDamaged):
                read_copy(bench.store, "shop", copy.name, key)
        assert list_copies(bench.store, bench.key) == ([], 1)
    moved = bench.root / "shop" / "shop-2.backup"
    moved.mkdir()
    (moved / "copy.json").write_bytes(whole)
    with pytest.raises(OffsiteDamaged, match=r"shop/shop-1\.backup"):
        read_copy(bench.store, "shop", "shop-2.backup", bench.key)
    with pytest.raises(OffsiteMissing):
        read_copy(bench.store, "shop", "../../shop", bench.key)


def test_a_folder_that_is_not_mounted_is_no_place(bench: Bench) -> None:
    store = FolderStore(OffsitePlace(kind="file", path=str(bench.root / "unmounted"), recipients=()))
    with pytest.raises(OffsiteUnreachable, match="mounted"):
        bench.send(store=store)
