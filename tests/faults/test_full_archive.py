"""Point in time without room: the archive says so, PostgreSQL's own disk stays free, and both go on by themselves."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.faults.full_machine import Machine, look, open_machine, require_clean, require_full
from tests.faults.server_observations import fill, postgres_port
from tests.support import eventually

BOUND = 32 << 20
"""How much of its log PostgreSQL keeps for the archive; so little here that the test is short."""


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with open_machine(backups="1300m") as made:  # a base backup wants 1 GiB free
        as_superuser(made, f"ALTER SYSTEM SET max_slot_wal_keep_size = '{BOUND >> 20}MB'")
        as_superuser(made, "ALTER SYSTEM SET max_wal_size = '64MB'")
        as_superuser(made, "SELECT pg_reload_conf()")
        eventually(lambda: is_open(made), "there is a base backup")
        yield made


def as_superuser(machine: Machine, sql: str) -> None:
    password = (machine.state / "state" / "postgres" / "password").read_text().strip()
    port = postgres_port(machine.server)
    with psycopg.connect(
        host="127.0.0.1", port=port, user="ikoma", password=password, dbname="postgres", autocommit=True
    ) as connection:
        connection.execute(sql)


def window(machine: Machine) -> dict[str, Any]:
    found: dict[str, Any] = machine.do("db.status")["pointInTime"]
    return found


def is_open(machine: Machine) -> bool:
    now = window(machine)
    return now["problem"] is None and now["since"] <= datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def write_log(machine: Machine) -> None:
    machine.do("db.seed", sql="CREATE TABLE w AS SELECT repeat(md5(n::text), 50) FROM generate_series(1, 8000) n")
    machine.do("db.seed", sql="DROP TABLE w")


def measure_log(machine: Machine) -> int:
    folder = machine.state / "state" / "postgres" / "data" / "pg_wal"
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def list_half_made(machine: Machine) -> list[Path]:
    """Servers that were recovered beside, and base backups that are not whole."""
    recovered = machine.state / "state" / "postgres" / "recovered"
    return [*recovered.glob("*"), *machine.server.backups.glob("point-in-time/*/base/.*")]


def test_a_second_is_refused_without_room_to_recover_beside_and_reached_once_there_is_some(machine: Machine) -> None:
    before = look(machine)
    then = datetime.now(UTC).isoformat()
    machine.do("db.seed", sql="DELETE FROM t")
    filler = fill(machine.state, leaving=40 << 20)
    require_full(machine.call("db.restore", time=then))
    assert list_half_made(machine) == []
    filler.unlink()
    assert machine.do("db.query", sql="SELECT count(*) FROM t")["rows"] == [[0]]
    machine.do("db.restore", time=then)
    assert look(machine) == before
    assert list_half_made(machine) == []
    require_clean(machine)


def test_an_archive_without_room_says_so_and_postgres_keeps_no_more_than_its_bound(machine: Machine) -> None:
    before = look(machine)
    filler = fill(machine.backups)

    def is_told() -> bool:
        write_log(machine)
        return bool(window(machine)["problem"])

    eventually(is_told, "the archive has a problem")
    check = machine.server.do("platform.check")
    assert "no space left on the disk of BACKUPS_ROOT" in check["details"]["pointInTime"]["error"], check
    for _ in range(8):
        write_log(machine)
    as_superuser(machine, "CHECKPOINT")
    assert measure_log(machine) < BOUND + (160 << 20)
    assert look(machine) == before, "the app goes on"
    refused = machine.call("db.restore", time=datetime.now(UTC).isoformat())
    assert refused.status >= 400
    assert "no space left on the disk" in refused.body["hint"], refused.body
    assert list_half_made(machine) == []
    filler.unlink()
    eventually(lambda: is_open(machine), "the archive goes on")
    assert "error" not in machine.server.do("platform.check")["details"]["pointInTime"]
    then = datetime.now(UTC).isoformat()
    machine.do("db.seed", sql="DELETE FROM t")
    machine.do("db.restore", time=then)
    assert look(machine) == before
    assert list_half_made(machine) == []
    require_clean(machine)
