"""`ikoma doctor` on what time brings."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ikoma.cli.doctor.upkeep import check_databases, check_upgrades, find_free, judge_keys
from ikoma.settings import load_settings

NOW = datetime(2026, 11, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("pools", "used", "free"),
    [
        ([("10.0.0.0/8", 24)], [], ["10.0.0.0/24", "10.0.1.0/24"]),
        ([("10.0.0.0/23", 24)], ["10.0.0.0/24"], ["10.0.1.0/24"]),
        ([("10.0.0.0/23", 24)], ["10.0.0.0/16"], []),
        ([("10.0.0.0/24", 24), ("10.1.0.0/24", 24)], ["fd00::/64"], ["10.0.0.0/24", "10.1.0.0/24"]),
        ([("fd00::/64", 80)], [], []),
    ],
    ids=["wide", "one left", "inside another", "the other protocol", "no addresses of version 4"],
)
def test_free_networks_are_those_that_nothing_overlaps(
    pools: list[tuple[str, int]], used: list[str], free: list[str]
) -> None:
    assert find_free(pools, used, 2) == free


def key(**dates: str | None) -> dict[str, Any]:
    usual = {"createdAt": "2026-09-01T00:00:00Z", "lastUsedAt": "2026-11-29T00:00:00Z"}
    return {
        "id": "key_1",
        "name": "ci",
        "role": "operator",
        "expiresAt": None,
        "revokedAt": None,
        "previousUntil": None,
        **usual,
        **dates,
    }


@pytest.mark.parametrize(
    ("row", "said", "fix"),
    [
        (key(createdAt="2025-11-01T00:00:00Z"), "made on 2025-11-01", "ikoma keys rotate key_1"),
        (key(lastUsedAt="2026-08-01T00:00:00Z"), "not used since 2026-08-01", "ikoma keys revoke key_1"),
        (key(createdAt="2026-08-01T00:00:00Z", lastUsedAt=None), "not used since 2026-08-01", "ikoma keys revoke"),
        (key(expiresAt="2026-12-05T00:00:00Z"), "ends on 2026-12-05", "ikoma keys create"),
    ],
    ids=["old", "unused", "never used", "ends soon"],
)
def test_a_key_to_look_at_is_named_with_what_to_do(row: dict[str, Any], said: str, fix: str) -> None:
    (finding,) = judge_keys([row], NOW)
    assert (finding.check, finding.ok, finding.details) == ("key ci", None, said)
    assert finding.fix.startswith(fix)


@pytest.mark.parametrize(
    "row",
    [
        key(),
        key(createdAt="2024-01-01T00:00:00Z", previousUntil="2026-10-01T00:00:00Z"),
        key(revokedAt="2026-01-01T00:00:00Z", createdAt="2020-01-01T00:00:00Z"),
        key(expiresAt="2026-01-01T00:00:00Z"),
    ],
    ids=["in use", "rotated", "revoked", "ended"],
)
def test_other_keys_are_not(row: dict[str, Any]) -> None:
    assert list(judge_keys([row], NOW)) == []


@pytest.mark.parametrize(
    ("noted", "words"),
    [
        (None, []),
        (
            '{"step": "watch", "from": "1-a", "to": "2-b", "at": "now"}',
            ["from 1-a to 2-b has not ended (step watch, now)"],
        ),
        ("half of a li", ["has not ended"]),
    ],
)
def test_an_upgrade_that_has_not_ended_is_told(tmp_path: Path, noted: str | None, words: list[str]) -> None:
    if noted is not None:
        (tmp_path / "upgrade.json").write_text(noted)
    found = list(check_upgrades(load_settings({"IKOMA_HOME": str(tmp_path)})))
    assert [item.details for item in found] == words
    assert all("ikoma upgrade" in item.fix for item in found)


def test_databases_of_an_older_postgresql_and_what_is_kept_of_it_are_told(tmp_path: Path) -> None:
    settings = load_settings({"IKOMA_HOME": str(tmp_path / "home"), "IKOMA_STATE": str(tmp_path)})
    assert list(check_databases(settings)) == []
    for name in ("data", "data-15"):
        (settings.postgres_folder / name).mkdir(parents=True)
        (settings.postgres_folder / name / "PG_VERSION").write_text("15\n")
    older, kept = check_databases(settings)
    assert (older.ok, older.fix) == (None, "ikoma upgrade --postgres")
    assert "of PostgreSQL 15" in older.details
    assert kept.fix.startswith("ikoma upgrade --postgres --forget")
