"""Names of backups never clash, and no other app can take them; a dump counts by a signed manifest beside it alone."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import orjson
import pytest

from ikoma.apps.database.backups import BackupManifest, Backups, KnownDump
from ikoma.apps.signing import BackupKey
from ikoma.errors import BackupDamaged, BackupExists, BackupForeign, IkomaError
from ikoma.model import AppName, BackupName
from ikoma.ports.databases import Dump

SHOP, SHOP_EU = AppName("shop"), AppName("shop-eu")
A, B = BackupName("a.sql"), BackupName("b.sql")


def make_backups(folder: Path, key: str = "own.key") -> Backups:
    return Backups(folder, BackupKey(folder / key))


def make(backups: Backups, name: str, text: str = "rows") -> BackupManifest:
    """A backup of the shop, with its manifest."""
    path = backups.root / name
    path.write_text(text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return backups.record(SHOP, Dump(path, len(text), digest, {"t": 7}), restored_in=1.5)


def test_many_backups_in_a_second_have_names_of_their_own(tmp_path: Path) -> None:
    backups = make_backups(tmp_path)
    names = []
    for _ in range(30):
        path = backups.reserve(SHOP, None)
        path.touch()
        names.append(path.name)
    assert len(set(names)) == 30
    assert all(re.fullmatch(r"shop-\d{8}-\d{6}(-\d+)?\.sql", BackupName.parse(name)) for name in names)


@pytest.mark.parametrize("name", ["shop-20260101.sql", "before-20260101-101010.sql", "shop-eu-20260101.sql"])
def test_a_name_of_ones_choice_is_taken_as_it_is_and_once(tmp_path: Path, name: str) -> None:
    backups = make_backups(tmp_path)
    path = backups.reserve(SHOP, BackupName.parse(name), others=[SHOP, SHOP_EU])
    assert path == tmp_path / name
    path.touch()
    with pytest.raises(BackupExists):
        backups.reserve(SHOP, BackupName.parse(name), others=[SHOP, SHOP_EU])


@pytest.mark.parametrize(("app", "other"), [(SHOP, SHOP_EU), (SHOP_EU, SHOP)])
def test_the_names_that_another_apps_backups_get_are_that_apps(tmp_path: Path, app: AppName, other: AppName) -> None:
    backups = make_backups(tmp_path)
    for end in ("", "-2"):
        name = BackupName.parse(f"{other}-20260101-101010{end}.sql")
        assert backups.reserve(other, name, others=[app, other]).name == name
        with pytest.raises(BackupForeign):
            backups.reserve(app, name, others=[app, other])


def test_what_was_recorded_is_found_and_told_to_be_compared(tmp_path: Path) -> None:
    backups = make_backups(tmp_path)
    made = make(backups, "a.sql")
    assert make_backups(tmp_path).find(SHOP, A) == made
    assert backups.list_of(SHOP) == [made]
    dump = backups.describe(made)
    assert (dump.is_kept, dump.sha256) == (True, hashlib.sha256(b"rows").hexdigest())


def _edit(root: Path) -> None:
    """Claim other rows, under the signature of before."""
    stored = orjson.loads((root / "a.sql.json").read_bytes())
    stored["manifest"]["tables"] = {"t": 8}
    (root / "a.sql.json").write_bytes(orjson.dumps(stored))


def _swap(root: Path) -> None:
    """The whole of another backup, older perhaps, under this name."""
    make(make_backups(root), "b.sql", "others")
    for end in ("", ".json"):
        (root / f"b.sql{end}").rename(root / f"a.sql{end}")


def _sign_anew(root: Path) -> None:
    make(make_backups(root, "other.key"), "a.sql", "others")


def _unsign(root: Path) -> None:
    """As versions before wrote it, and as anybody can."""
    (root / "a.sql.json").write_bytes(orjson.dumps(orjson.loads((root / "a.sql.json").read_bytes())["manifest"]))


def _take_key(root: Path) -> None:
    """Another server's signature under our key's name."""
    made = make(make_backups(root, "other.key"), "a.sql")
    stored = orjson.loads((root / "a.sql.json").read_bytes())
    stored["key"] = BackupKey(root / "own.key").public
    stored["manifest"] = asdict(made)
    (root / "a.sql.json").write_bytes(orjson.dumps(stored))


@pytest.mark.parametrize(
    ("harm", "error", "words"),
    [
        (_edit, BackupDamaged, "The manifest of a.sql is not what was signed."),
        (_swap, BackupDamaged, "a.sql is a copy of b.sql, under another name."),
        (_sign_anew, BackupForeign, "a.sql was signed by another server."),
        (_unsign, BackupForeign, "The manifest of a.sql is not signed, so nobody can tell who made it."),
        (_take_key, BackupDamaged, "The manifest of a.sql is not what was signed."),
        (lambda root: (root / "a.sql.json").unlink(), BackupForeign, "a.sql has no manifest"),
        (lambda root: (root / "a.sql.json").write_text("{"), BackupDamaged, "The manifest of a.sql cannot be read."),
        (lambda root: (root / "a.sql.json").write_text("[]"), BackupDamaged, "The manifest of a.sql cannot be read."),
    ],
    ids=["edited", "swapped", "another server's", "unsigned", "our key's name", "none", "half", "a list"],
)
def test_a_manifest_that_this_server_has_not_signed_is_refused_and_in_no_list(
    tmp_path: Path, harm: Callable[[Path], None], error: type[IkomaError], words: str
) -> None:
    backups = make_backups(tmp_path)
    make(backups, "a.sql")
    harm(tmp_path)
    with pytest.raises(error) as refused:
        backups.find(SHOP, A)
    assert refused.value.message.startswith(words)
    assert refused.value.hint
    assert backups.list_of(SHOP) == []
    assert backups.find_latest(SHOP) is None


def test_one_that_comes_from_off_this_machine_is_compared_before_it_has_its_name(tmp_path: Path) -> None:
    away, here = make_backups(tmp_path / "away"), Backups(tmp_path / "here", BackupKey(tmp_path / "away" / "own.key"))
    for folder in (away.root, here.root):
        folder.mkdir()
    make(away, "a.sql")
    _edit(away.root)
    with pytest.raises(BackupDamaged):
        here.take_in(SHOP, A, away.root)
    make(away, "b.sql")
    (away.root / "b.sql").write_text("edited")
    with pytest.raises(BackupDamaged):
        here.take_in(SHOP, B, away.root)
    assert list(here.root.iterdir()) == []
    made = make(away, "a.sql")
    here.take_in(SHOP, A, away.root)
    assert here.find(SHOP, A) == made


def test_the_unsigned_manifests_of_known_dumps_are_signed_and_no_others(tmp_path: Path) -> None:
    backups = make_backups(tmp_path)
    for name in ("a.sql", "b.sql", "c.sql"):
        make(backups, name, name)
        told = orjson.loads((tmp_path / f"{name}.json").read_bytes())["manifest"]
        (tmp_path / f"{name}.json").write_bytes(orjson.dumps(told | {"tables": {"t": 99}, "created_at": "9999"}))
    sha256 = hashlib.sha256(b"a.sql").hexdigest()
    known = [
        KnownDump("shop", "a.sql", sha256, "2026-01-01T00:00:00Z", {"t": 7}),
        KnownDump("shop", "b.sql", sha256, "2026-01-01T00:00:00Z", {"t": 7}),
        KnownDump("shop", "gone.sql", sha256, "2026-01-01T00:00:00Z", {}),
    ]
    assert backups.sign_former(lambda: known) == ["a.sql"]
    signed = backups.find(SHOP, A)
    assert (signed.tables, signed.created_at) == ({"t": 7}, "2026-01-01T00:00:00Z"), "what nobody signed is not taken"
    assert [item.name for item in backups.list_of(SHOP)] == ["a.sql"]
    with pytest.raises(BackupForeign, match="is not signed"):
        backups.find(SHOP, B)
    (tmp_path / "c.sql.json").unlink()
    (tmp_path / "b.sql.json").unlink()
    assert backups.sign_former(lambda: pytest.fail("nothing is unsigned")) == []


def test_packed_dumps_of_before_are_signed_as_plain_ones_are(tmp_path: Path) -> None:
    backups = make_backups(tmp_path)
    manifest = make(backups, "night.sql.zst")
    (tmp_path / "night.sql.zst.json").write_bytes(orjson.dumps(asdict(manifest)))
    assert backups.list_of(SHOP) == []
    known = [KnownDump("shop", "night.sql.zst", manifest.sha256, "2026-01-01T00:00:00Z", {"t": 7})]
    assert backups.sign_former(lambda: known) == ["night.sql.zst"]
    assert [item.name for item in backups.list_of(SHOP)] == ["night.sql.zst"]


def test_a_packed_dump_comes_back_from_elsewhere_as_a_plain_one_does(tmp_path: Path) -> None:
    backups = make_backups(tmp_path)
    manifest = make(backups, "night.sql.zst")
    place = tmp_path / "place"
    place.mkdir()
    for name in ("night.sql.zst", "night.sql.zst.json"):
        (tmp_path / name).rename(place / name)
    backups.take_in(SHOP, BackupName("night.sql.zst"), place)
    assert backups.find(SHOP, BackupName("night.sql.zst")) == manifest
    backups.remove("night.sql.zst")
    assert list(tmp_path.glob("night*")) == []


def test_a_packed_dump_is_given_the_room_of_its_text() -> None:
    assert Dump(Path("a.sql"), 100, "").room == 100
    assert Dump(Path("a.sql.zst"), 100, "").room == 800
