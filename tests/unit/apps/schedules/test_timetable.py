from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ikoma.apps.schedules.timetable import BadExpression, check_expression, compute_delay, find_last, find_next


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_a_time_of_day_is_one_of_its_zone() -> None:
    assert find_next("0 3 * * *", "Europe/Berlin", at("2026-11-30T00:00:00")) == at("2026-11-30T02:00:00")
    assert find_next("0 3 * * *", "Europe/Berlin", at("2026-07-01T00:00:00")) == at("2026-07-01T01:00:00")


def test_the_last_time_counts_from_its_very_second_on() -> None:
    assert find_last("0 3 * * *", "UTC", at("2026-11-30T03:00:00")) == at("2026-11-30T03:00:00")
    assert find_last("0 3 * * *", "UTC", at("2026-11-30T02:59:59")) == at("2026-11-29T03:00:00")
    half = at("2026-11-30T03:00:00") + timedelta(milliseconds=500)
    assert find_last("0 3 * * *", "UTC", half) == at("2026-11-30T03:00:00")


def test_a_night_whose_hour_is_skipped_or_doubled_has_one_run() -> None:
    skipped = find_next("30 2 * * *", "Europe/Berlin", at("2026-03-28T12:00:00"))
    assert skipped == at("2026-03-29T01:00:00")
    assert find_next("30 2 * * *", "Europe/Berlin", skipped) == at("2026-03-30T00:30:00")
    doubled = find_next("30 2 * * *", "Europe/Berlin", at("2026-10-24T12:00:00"))
    assert doubled == at("2026-10-25T00:30:00")
    assert find_next("30 2 * * *", "Europe/Berlin", doubled) == at("2026-10-26T01:30:00")


@pytest.mark.parametrize(
    ("cron", "zone", "said"),
    [
        ("0 3 * *", "UTC", "has 4 fields"),
        ("0 0 3 * * *", "UTC", "has 6 fields"),
        ("61 3 * * *", "UTC", "bad minute"),
        ("0 3 * * frogs", "UTC", "bad day-of-week"),
        ("0 3 30 2 *", "UTC", "bad day-of-month"),
        ("@daily", "UTC", "has 1 fields"),
        ("0 3 * * *", "Europe/Atlantis", "is no time zone"),
        ("0 3 * * *", "../../etc/passwd", "is no time zone"),
    ],
)
def test_what_is_no_expression_or_never_fires_is_said(cron: str, zone: str, said: str) -> None:
    with pytest.raises(BadExpression, match=said):
        check_expression(cron, zone)


@pytest.mark.parametrize("cron", ["*/5 * * * *", "0 6 * * mon-fri", "0 0 29 2 *", "0 0 l * *", "0 12 1,15 * *"])
def test_usual_expressions_are_taken(cron: str) -> None:
    check_expression(cron, "America/New_York")


def test_starts_are_spread_and_each_is_always_the_same() -> None:
    found = {compute_delay(f"app{number}", "nightly", 7200) for number in range(50)}
    assert len(found) > 40
    assert all(timedelta() <= item <= timedelta(hours=2) for item in found)
    assert compute_delay("shop", "nightly", 7200) == compute_delay("shop", "nightly", 7200)
    assert compute_delay("shop", "nightly", 0) == timedelta()
