"""db.backup against raw pg_dump to a file, on a table of a million rows and 300 MB."""

from __future__ import annotations

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
    """Ours and the other alternate, from the same warm table; both flush what they wrote to the disk."""
    name, owned = world.database("backup")
    environment = world.connection(owned)
    world.server.do("db.migrate", {"appName": name, "sql": _TABLE})
    _psql(environment, "VACUUM ANALYZE orders")
    size = int(_psql(environment, "SELECT pg_table_size('orders')")) / 1e6
    raw_file = world.server.folder / "raw.sql"
    ours: list[float] = []
    beside: list[float] = []
    growth: list[int] = []
    for number in range(world.rounds):
        call = {"appName": name, "backupName": f"bench-{number}.sql"}
        forget_high_water(world.pid)
        before = status_field(world.pid, "VmRSS")
        ours.append(took(lambda call=call: world.server.do("db.backup", call)))  # type: ignore[misc]
        growth.append(status_field(world.pid, "VmHWM") - before)
        argv = [postgres_program("pg_dump"), "-f", str(raw_file)]
        beside.append(took(lambda argv=argv: subprocess.run(argv, check=True, env=environment)))  # type: ignore[misc]
        raw_file.unlink()
        (world.server.backups / f"bench-{number}.sql").unlink()
    what = f"db.backup of {_ROWS:,} rows ({size:.0f} MB) over raw `pg_dump`"
    yield at_most(what, ratio(ours, beside), _TARGET, "×", ours=seconds(ours), beside=seconds(beside))
    most = max(growth) / (1 << 20)
    spread = f"{statistics.median(growth) / (1 << 20):.1f} MiB median"
    yield at_most("db.backup, growth of the server's memory", most, _GROWTH_MIB, " MiB", ours=spread)


def forget_high_water(pid: int) -> None:
    """Set a process's peak memory back to what it has now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _psql(environment: dict[str, str], *statements: str) -> str:
    wanted = [argument for statement in statements for argument in ("-c", statement)]
    argv = [postgres_program("psql"), "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", *wanted]
    return subprocess.run(argv, check=True, env=environment, capture_output=True, text=True).stdout.strip()
