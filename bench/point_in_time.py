"""db.restore to a second: a cluster of 1 GB, and ten minutes of a log that grows by 1 MiB a second.

Then two incremental base backups are made; one moment is recovered from all three, and from the full one and the log.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson

from bench.figures import Figure, at_most
from bench.world import World, postgres_program, took
from ikoma.durable import remove_tree, write_file
from ikoma.moments import format_moment
from tests.support import Server
from tests.support import server as started_server

_TARGET, _LONGEST_WAIT = 60.0, 600.0
_CHAIN_TARGET = 1.0
_LOG, _ROWS = 600 << 20, 1_900_000
_QUICK = 10
"""How many times smaller all of it is with `--quick`."""
_MINE = "CREATE TABLE orders AS SELECT n, md5(n::text) AS note FROM generate_series(1, 200000) n"
_BULK = "CREATE TABLE bulk AS SELECT n, repeat(md5(n::text), 14) AS note FROM generate_series(1, {rows}) n"
_CHANGE = "UPDATE bulk SET n = n WHERE n % 400 = 0"


def point_in_time(world: World) -> Iterator[Figure]:
    """One app goes back; another one's rows are most of the cluster, and of the log."""
    with started_server(POINT_IN_TIME="true") as server:
        own = replace(world, server=server)
        name, owned = own.database("second")
        mine, other = own.connection(owned), own.connection(own.database("bulk")[1])
        _psql(mine, _MINE)
        part = _QUICK if world.is_quick else 1
        _psql(other, _BULK.format(rows=_ROWS // part))
        for base in _wait_for_base(server):
            remove_tree(base)  # the next one is of all that
        _wait_for_base(server)
        size = int(_psql(other, "SELECT pg_database_size(current_database())")) / 1e9
        begun, then, written = _position(other), "", 0
        while written < _LOG // part:
            _psql(other, _CHANGE)
            written = _position(other) - begun
            if not then and written > _LOG // part // 2:
                then = datetime.now(UTC).isoformat()
        taken = _go_back(server, name, mine, then)
        what = f"db.restore to a second: {size:.1f} GB cluster, {written >> 20} MiB of log (10 min of 1 MiB/s)"
        yield at_most(what, taken, _TARGET, " s", ours=f"{taken:.1f} s")
        yield _compare_chain(server, name, mine, other)


def _compare_chain(server: Server, name: str, mine: dict[str, str], other: dict[str, str]) -> Figure:
    """Recover one moment from a full base backup and two incremental ones, then from the full one and all the log."""
    for _ in range(2):
        _make_incremental(server)
        _psql(other, _CHANGE)
    then = datetime.now(UTC).isoformat()
    found = _wait_for_base(server)
    parents = [orjson.loads((base / "base.json").read_bytes())["parent"] for base in found]
    assert [parent is None for parent in parents] == [True, False, False], parents
    chain = _go_back(server, name, mine, then)
    for base in found[1:]:
        remove_tree(base)
    full = _go_back(server, name, mine, then)
    what = "the same from a full and two incremental base backups, over the full one and all the log"
    return at_most(what, chain / full, _CHAIN_TARGET, "×", ours=f"{chain:.1f} s", beside=f"{full:.1f} s")


def _go_back(server: Server, name: str, mine: dict[str, str], then: str) -> float:
    _psql(mine, "DELETE FROM orders WHERE n > 1000")
    taken = took(lambda: server.do("db.restore", {"appName": name, "time": then}))
    assert _psql(mine, "SELECT count(*) FROM orders") == "200000"
    return taken


def _make_incremental(server: Server) -> None:
    """Have one made: for a moment the last base backup says that it is a day old."""
    known = _wait_for_base(server)
    record = known[-1] / "base.json"
    kept = record.read_bytes()
    aged = format_moment(datetime.now(UTC) - timedelta(hours=25), "microseconds")
    write_file(record, orjson.dumps(orjson.loads(kept) | {"finished": aged}), mode=0o600)
    deadline = time.monotonic() + _LONGEST_WAIT
    while len(_wait_for_base(server)) == len(known):
        assert time.monotonic() < deadline, "there is no incremental base backup"
        time.sleep(0.5)
    write_file(record, kept, mode=0o600)


def _wait_for_base(server: Server) -> list[Path]:
    deadline = time.monotonic() + _LONGEST_WAIT
    while True:
        found = sorted(path for path in (server.backups / "point-in-time").glob("*/base/*") if path.name[0] != ".")
        if found:
            return found
        assert time.monotonic() < deadline, "there is no base backup"
        time.sleep(0.5)


def _position(environment: dict[str, str]) -> int:
    return int(_psql(environment, "SELECT pg_current_wal_lsn() - '0/0'::pg_lsn"))


def _psql(environment: dict[str, str], statement: str) -> str:
    argv = [postgres_program("psql"), "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-c", statement]
    return subprocess.run(argv, check=True, env=environment, capture_output=True, text=True).stdout.strip()
