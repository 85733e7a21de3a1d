"""Migrations are told from other files, have an order, and some only undo another."""

from __future__ import annotations

from pathlib import Path

import pytest

from ikoma.app_folder import App
from ikoma.apps.database import migration_files
from ikoma.errors import PathOutside, SqlFailed
from ikoma.model import AppName, SqlFileName
from ikoma.ports.databases import LedgerEntry


@pytest.fixture
def app(tmp_path: Path) -> App:
    folder = tmp_path / "shop"
    (folder / "migrations").mkdir(parents=True)
    for name in ("10_c.sql", "2_b.sql", "2_b.down.sql", "10_c.down.sql", "1_a.sql", "9_gone.down.sql", "notes.txt"):
        (folder / "migrations" / name).write_text(f"-- {name}")
    return App(AppName("shop"), folder)


def test_down_migrations_are_never_pending(app: App) -> None:
    known = migration_files.list_migrations(app)
    assert [item.name for item in known] == ["1_a.sql", "2_b.sql", "10_c.sql"]
    assert migration_files.select_pending(known, []) == known


def test_a_down_migration_cannot_be_applied_by_its_name(app: App) -> None:
    with pytest.raises(SqlFailed, match=r"2_b\.down\.sql undoes a migration") as caught:
        migration_files.find_migration(app, SqlFileName("2_b.down.sql"))
    assert "2_b.sql" in caught.value.hint
    assert migration_files.find_migration(app, SqlFileName("2_b.sql")).name == "2_b.sql"


def test_the_text_of_a_down_migration_is_not_taken_for_its_file(app: App) -> None:
    assert migration_files.make_migration(app, "-- 2_b.down.sql").name.startswith("sql-")


def test_a_way_back_is_found_by_the_name_of_its_migration(app: App) -> None:
    found = migration_files.list_down_migrations(app)
    assert {name: down.name for name, down in found.items()} == {
        "2_b.sql": "2_b.down.sql",
        "10_c.sql": "10_c.down.sql",
        "9_gone.sql": "9_gone.down.sql",
    }
    assert found["2_b.sql"].sql == "-- 2_b.down.sql"


def test_ways_back_of_another_folder_of_the_app(app: App, tmp_path: Path) -> None:
    kept = app.path / "kept"
    assert migration_files.list_down_migrations(app, kept) == {}
    kept.mkdir()
    (kept / "1_a.down.sql").write_text("SELECT 1")
    assert list(migration_files.list_down_migrations(app, kept)) == ["1_a.sql"]


def test_a_down_migration_that_is_a_link_out_of_the_app_is_refused(app: App, tmp_path: Path) -> None:
    (tmp_path / "secret.sql").write_text("SELECT 1")
    (app.migrations / "3_d.down.sql").symlink_to(tmp_path / "secret.sql")
    with pytest.raises(PathOutside):
        migration_files.list_down_migrations(app)


def test_files_and_the_ledger_that_do_not_fit_together(app: App) -> None:
    known = migration_files.list_migrations(app)

    def entry(name: str) -> LedgerEntry:
        checksum = next((item.checksum for item in known if item.name == name), "")
        return LedgerEntry(name, checksum, "2026-01-01T00:00:00.000Z")

    in_order = [entry("1_a.sql"), entry("2_b.sql"), entry("sql-0123456789ab"), entry("release-command-x")]
    assert (migration_files.select_missing(known, in_order), migration_files.select_overtaken(known, in_order)) == (
        [],
        {},
    )
    assert migration_files.select_overtaken(known, []) == {}
    assert migration_files.select_overtaken(known, [entry("10_c.sql")]) == {
        "1_a.sql": "10_c.sql",
        "2_b.sql": "10_c.sql",
    }
    assert migration_files.select_overtaken(known, [entry("2_b.sql"), entry("5_gone.sql")]) == {"1_a.sql": "2_b.sql"}
    assert migration_files.select_missing(known, [entry("1_a.sql"), entry("5_gone.sql")]) == ["5_gone.sql"]
