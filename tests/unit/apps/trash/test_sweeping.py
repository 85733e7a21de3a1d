"""Halves that killed servers left in the trash go with the next start; what was removed stays."""

from __future__ import annotations

from pathlib import Path

from ikoma.apps.trash.entries import sweep_trash
from ikoma.durable import open_whole_file


def test_a_start_removes_what_was_half_written_and_half_deleted_and_nothing_else(tmp_path: Path) -> None:
    entry = tmp_path / ".ikoma" / "trash" / "shop-20261130-120000-abcd"
    doomed = tmp_path / ".ikoma" / "emptying-trash-abc"
    for folder in (entry / "volumes", entry / "folder", doomed):
        folder.mkdir(parents=True)
    kept = [entry / "database.sql", entry / "volumes" / "shop_data.tar", entry / "folder" / ".ikoma-writing-of-the-app"]
    half = [entry / ".ikoma-writing-0123456789ab", entry / "volumes" / ".ikoma-writing-0123456789ab", doomed / "x"]
    for file in (*kept, *half):
        file.write_text("content")
    with open_whole_file(entry / "volumes" / "other.tar", mode=0o600) as stream:
        stream.write(b"being written")
        sweep_trash(tmp_path)
    assert [file for file in half if file.exists()] == []
    assert [file for file in kept if not file.exists()] == []
    assert (entry / "volumes" / "other.tar").read_bytes() == b"being written"
