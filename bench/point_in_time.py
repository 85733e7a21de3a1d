"""db.restore to a second: a cluster of 1 GB, and ten minutes of a log that grows by 1 MiB a second."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from bench.figures import Figure, at_most
from bench.world import World, postgres_program, took
from ikoma.durable import remove_tree
from tests.support import Server
from tests.support import server as started_server

_TARGET, _LONGEST_WAIT = 60.0, 600.0
_LOG = 600 << 20
_MINE = "CREATE TABLE orders AS SELECT n, md5(n::text) AS note FROM generate_series(1, 200000) n"
_BULK = "CREATE TABLE bulk AS SELECT n, repeat(md5(n::text), 14) AS note FROM generate_series(1, 1900000) n"


def point_in_time(world: World) -> Iterator[Figure]:
    """One app goes back; another one's rows are most of the cluster, and of the log."""
    with started_server(POINT_IN_TIME="true") as server:
        own = replace(world, server=server)
        name, owned = own.database("second")
        mine, other = own.connection(owned), own.connection(own.database("bulk")[1])
        _psql(mine, _MINE)
        _psql(other, _BULK)
        for base in _wait_for_base(server):
            remove_tree(base)  # the next one is of all that
        _wait_for_base(server)
        size = int(_psql(other, "SELECT pg_database_size(current_database())")) / 1e9
        begun, then, written = _position(other), "", 0
        while written < _LOG:
            _psql(other, "UPDATE bulk SET n = n WHERE n % 400 = 0")
            written = _position(other) - begun
            if not then and written > _LOG // 2:
                then = datetime.now(UTC).isoformat()
                _psql(mine, "DELETE FROM orders WHERE n > 1000")
        taken = took(lambda: server.do("db.restore", {"appName": name, "time": then}))
        assert _psql(mine, "SELECT count(*) FROM orders") == "200000"
        what = f"db.restore to a second: {size:.1f} GB cluster, {written >> 20} MiB of log (10 min of 1 MiB/s)"
        yield at_most(what, taken, _TARGET, " s", ours=f"{taken:.1f} s")


def _wait_for_base(server: Server) -> list[Path]:
    deadline = time.monotonic() + _LONGEST_WAIT
    while True:
        found = [path for path in (server.backups / "point-in-time").glob("*/base/*") if path.name[0] != "."]
        if found:
            return found
        assert time.monotonic() < deadline, "there is no base backup"
        time.sleep(0.5)


def _position(environment: dict[str, str]) -> int:
    return int(_psql(environment, "SELECT pg_current_wal_lsn() - '0/0'::pg_lsn"))


def _psql(environment: dict[str, str], statement: str) -> str:
    argv = [postgres_program("psql"), "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-c", statement]
    return subprocess.run(argv, check=True, env=environment, capture_output=True, text=True).stdout.strip()
