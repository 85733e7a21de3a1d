"""A database can go back: ledgers, files and backups in, the way and its cost out."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from ikoma.apps.database.rollback_planning import KnownBackup, RollbackMethod, plan_rollback
from ikoma.ports.databases import LedgerEntry, Migration


def ledger(text: str) -> list[LedgerEntry]:
    """From "1@10 2@20 3b@30": names, a letter for another content, and the hour of the day as applied."""
    entries = []
    for item in text.split():
        name, hour = item.split("@")
        number = name.rstrip("abc")
        entries.append(LedgerEntry(f"{number}.sql", checksum(number, name[len(number) :]), at(hour)))
    return entries


def checksum(number: str, content: str = "") -> str:
    return Migration.of(f"{number}.sql", f"-- {number}{content}").checksum


def at(hour: str) -> str:
    return f"2026-01-01T{hour}:00:00.000Z"


@dataclass(frozen=True)
class Case:
    older: str
    newer: str
    way: RollbackMethod
    said: str
    downs: str = ""
    backups: str = ""
    """Such as "a@15 b@25=1,2": names, hours, and what they hold where that is known."""
    changed: str = ""
    undo: tuple[str, ...] = ()
    backup: str | None = None
    also: tuple[str, ...] = field(default=())


CASES = {
    "nothing was migrated": Case("1@10 2@20", "1@10 2@20", RollbackMethod.NOTHING, "nothing to do"),
    "there never was a migration": Case("", "", RollbackMethod.NOTHING, "nothing to do"),
    "undone and applied again as it was": Case("1@10 2@20", "1@10 2@40", RollbackMethod.NOTHING, "nothing to do"),
    "one down-migration": Case(
        "1@10", "1@10 2@20", RollbackMethod.DOWN, "Undone by its down-migration: 2.sql.", downs="2", undo=("2.sql",)
    ),
    "several, newest first": Case(
        "1@10",
        "1@10 2@20 3@30",
        RollbackMethod.DOWN,
        "their down-migrations: 3.sql, then 2.sql",
        downs="2 3",
        undo=("3.sql", "2.sql"),
    ),
    "all of them": Case(
        "", "1@10 2@20", RollbackMethod.DOWN, "2.sql, then 1.sql", downs="1 2", undo=("2.sql", "1.sql")
    ),
    "by the ledger's order, not by number": Case(
        "2@10", "2@10 3@20 1@30", RollbackMethod.DOWN, "1.sql, then 3.sql", downs="1 3", undo=("1.sql", "3.sql")
    ),
    "down-migrations before a backup": Case(
        "1@10", "1@10 2@20", RollbackMethod.DOWN, "Rows written since stay", downs="2", backups="a@15", undo=("2.sql",)
    ),
    "a backup where a down-migration lacks": Case(
        "1@10",
        "1@10 2@20 3@30",
        RollbackMethod.RESTORE,
        "The backup a of 2026-01-01T15:00:00.000Z is restored, because 2.sql has no down-migration",
        downs="3",
        backups="a@15",
        backup="a",
        also=("what was written since is lost",),
    ),
    "the newest backup of that time": Case(
        "1@10", "1@10 2@20", RollbackMethod.RESTORE, "backup b", backups="z@05 a@12 b@19 c@20 d@25", backup="b"
    ),
    "a backup of the very moment of the last migration": Case(
        "1@10", "1@10 2@20", RollbackMethod.RESTORE, "backup a", backups="a@10", backup="a"
    ),
    "a backup from before the first migration": Case(
        "", "1@10", RollbackMethod.RESTORE, "backup a", backups="a@05", backup="a"
    ),
    "no backup at all": Case(
        "1@10", "1@10 2@20", RollbackMethod.CANNOT, "2.sql has no down-migration, and no backup holds it"
    ),
    "only backups of another time": Case(
        "1@10 2@20", "1@10 2@20 3@30", RollbackMethod.CANNOT, "no backup", backups="a@15 b@35"
    ),
    "several down-migrations lack": Case(
        "", "1@10 2@20 3@30", RollbackMethod.CANNOT, "1.sql, 2.sql and 3.sql have no down-migra"
    ),
    "a file was changed since": Case(
        "1@10", "1@10 2@20", RollbackMethod.CANNOT, "2.sql was changed on the disk", downs="2", changed="2"
    ),
    "a changed file does not spoil a backup": Case(
        "1@10",
        "1@10 2@20",
        RollbackMethod.RESTORE,
        "changed on the disk",
        downs="2",
        changed="2",
        backups="a@15",
        backup="a",
    ),
    "the older release has more": Case(
        "1@10 2@20", "1@10", RollbackMethod.CANNOT, "2.sql was applied then, and is not now"
    ),
    "another content since": Case(
        "1@10 2@20", "1@10 2b@30", RollbackMethod.CANNOT, "2.sql was applied again", downs="2"
    ),
    "a migration in between": Case(
        "1@10 3@30",
        "1@10 2@20 3@30",
        RollbackMethod.CANNOT,
        "not the newest of the ledger",
        downs="2",
        backups="a@25 b@35",
    ),
    "a backup is not trusted by its time where something was undone": Case(
        "1@10 2@20", "1@10 3@30", RollbackMethod.CANNOT, "no backup", downs="3", backups="a@25"
    ),
    "a backup that says what it holds is trusted": Case(
        "1@10 2@20", "1@10 3@30", RollbackMethod.RESTORE, "backup a", backups="a@25=1,2 b@27=1", backup="a"
    ),
    "what a backup says weighs more than its time": Case(
        "1@10", "1@10 2@20", RollbackMethod.CANNOT, "no backup", backups="a@15=1,2"
    ),
    "a backup of another content is none": Case(
        "1@10 2@20", "1@10", RollbackMethod.CANNOT, "no backup", backups="a@25=1,2b"
    ),
}


def kept(text: str) -> KnownBackup:
    head, known, holds = text.partition("=")
    name, hour = head.split("@")
    migrations = {f"{one.rstrip('b')}.sql": checksum(one.rstrip("b"), one[1:]) for one in holds.split(",") if one}
    return KnownBackup(name, at(hour), migrations if known else None)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_way_back(case: Case) -> None:
    numbers = {entry.name.removesuffix(".sql") for entry in ledger(case.newer)}
    found = plan_rollback(
        ledger(case.older),
        ledger(case.newer),
        files=[Migration.of(f"{one}.sql", f"-- {one}{'changed' if one in case.changed else ''}") for one in numbers],
        downs={f"{one}.sql" for one in case.downs.split()},
        backups=[kept(one) for one in case.backups.split()],
    )
    assert (found.method, found.undo, found.backup) == (case.way, case.undo, case.backup)
    for text in (case.said, *case.also):
        assert text in str(found)
    assert str(found).endswith(".")
    assert (found.made_at is None) == (found.backup is None)
