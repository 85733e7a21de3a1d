"""db.backup against raw pg_dump to a file, on a table of a million rows and 300 MB."""

from __future__ import annotations

import os
import statistics
import subprocess
from collections.abc import Iterator
from pathlib import Path

from bench.figures import Figure, at_most, seconds
from bench.world import World, postgres_program, ratio, status_field, took

_TARGET, _GROWTH_MIB = 1.15, 32
_ROWS = 1_000_000
_TABLE = f"""
CREATE TABLE orders (id bigint PRIMARY KEY, customer text NOT NULL, placed_at timestamptz NOT NULL, note text NOT NULL);
INSERT INTO orders SELECT n, md5(n::text), timestamptz '2026-01-01' + n * interval '1 second',
    repeat(md5((n * 7)::text), 6) FROM generate_series(1, {_ROWS}) n;
"""


def backups(world: World) -> Iterator[Figure]:
    """Ours and the other alternate, from the same warm table."""
    name, owned = world.database("backup")
    environment = world.connection(owned)
    world.server.do("db.migrate", {"appName": name, "sql": _TABLE})
    _psql(environment, "VACUUM ANALYZE orders")
    size = int(_psql(environment, "SELECT pg_table_size('orders')")) / 1e6
    ours: list[float] = []
    beside: list[float] = []
    whole: list[float] = []
    growth: list[int] = []

    def backup() -> None:
        forget_high_water(world.pid)
        before = status_field(world.pid, "VmRSS")
        call = {"appName": name, "backupName": "bench.sql"}
        made = {}
        whole.append(took(lambda: made.update(world.server.do("db.backup", call))))
        ours.append(made["dumpSeconds"])
        growth.append(status_field(world.pid, "VmHWM") - before)
        discard(world.server.backups / "bench.sql")

    def pg_dump() -> None:
        file = world.server.backups / "raw.sql"
        argv = [postgres_program("pg_dump"), "-f", str(file)]
        beside.append(took(lambda: subprocess.run(argv, check=True, env=environment)))
        discard(file)

    for number in range(world.rounds * 2):
        for measure in (backup, pg_dump) if number % 2 else (pg_dump, backup):
            measure()
    what = f"db.backup of {_ROWS:,} rows ({size:.0f} MB), its dump over raw `pg_dump`"
    shown = f"{seconds(ours)}; {statistics.median(whole):.2f} s with flush, checksums and proof"
    yield at_most(what, ratio(ours, beside), _TARGET, "×", ours=shown, beside=seconds(beside))
    most = max(growth) / (1 << 20)
    spread = f"{statistics.median(growth) / (1 << 20):.1f} MiB median"
    yield at_most("db.backup, growth of the server's memory", most, _GROWTH_MIB, " MiB", ours=spread)


def discard(file: Path) -> None:
    """Remove a file and let the disk come to rest, so that the next one starts as this one did."""
    file.unlink()
    os.sync()


def forget_high_water(pid: int) -> None:
    """Set a process's peak memory back to what it has now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _psql(environment: dict[str, str], *statements: str) -> str:
    wanted = [argument for statement in statements for argument in ("-c", statement)]
    argv = [postgres_program("psql"), "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", *wanted]
    return subprocess.run(argv, check=True, env=environment, capture_output=True, text=True).stdout.strip()
