from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ikoma.apps.database.backups import BackupManifest
from ikoma.apps.schedules.kept_backups import choose_superfluous
from ikoma.apps.schedules.schedule import Schedule

RULE = Schedule(name="nightly", cron="0 2 * * *", keep_days=7, keep_weeks=4, keep_months=6)
NOW = datetime(2026, 11, 30, 2, tzinfo=UTC)


def made(days_ago: int, *, proven: bool = True, name: str = "") -> BackupManifest:
    at = (NOW - timedelta(days=days_ago)).isoformat()
    return BackupManifest("shop", name or f"shop-{days_ago}.sql", at, 1, "", {}, at if proven else None)


def test_days_weeks_and_months_keep_one_each() -> None:
    nights = [made(days) for days in range(400)]
    left = {item.name for item in nights} - choose_superfluous(nights, nights, RULE)
    assert {f"shop-{days}.sql" for days in range(7)} <= left
    # Sundays of the three weeks before, and the last days of the five months before.
    assert left - {f"shop-{days}.sql" for days in range(7)} == {
        *("shop-8.sql", "shop-15.sql"),
        *("shop-30.sql", "shop-61.sql", "shop-91.sql", "shop-122.sql", "shop-153.sql"),
    }


def test_what_people_made_is_nobodys_to_let_go_of() -> None:
    nights = [made(days) for days in range(100)]
    own = made(300, name="before-the-move.sql")
    assert own.name not in choose_superfluous(nights, [*nights, own], RULE)


def test_the_last_proven_one_stays_whatever_the_rule_says() -> None:
    strict = Schedule(name="nightly", cron="0 2 * * *", keep_days=0, keep_weeks=0, keep_months=0)
    there = [made(0, proven=False), made(1), made(2)]
    assert choose_superfluous(there, there, strict) == {"shop-0.sql", "shop-2.sql"}


def test_packed_and_plain_ones_count_alike() -> None:
    plain = [made(days) for days in range(400)]
    mixed = [made(days, name=f"shop-{days}.sql{'.zst' * (days % 2)}") for days in range(400)]
    gone = choose_superfluous(plain, plain, RULE)
    assert {name.removesuffix(".zst") for name in choose_superfluous(mixed, mixed, RULE)} == gone
