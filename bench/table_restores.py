"""db.restore of a table: how long a session waits that writes to it all the time, of a small and of a large table."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from bench.figures import Figure, at_most
from bench.world import World
from ikoma.ports.databases import Credentials

_TARGET = 2.0
_ROWS = (100_000, 2_000_000)
_PAUSE = 0.02
_TABLE = """
CREATE TABLE orders (id bigint PRIMARY KEY, customer text NOT NULL, note text NOT NULL);
INSERT INTO orders SELECT n, md5(n::text), repeat(md5((n * 7)::text), 3) FROM generate_series(1, {rows}) n;
"""


def table_restores(world: World) -> Iterator[Figure]:
    """Once beside a session that reads alone and once beside one that writes: its rows are backed up once more then."""
    for rows in _ROWS:
        name, owned = world.database(f"tables-{rows}")
        world.server.do("db.migrate", {"appName": name, "sql": _TABLE.format(rows=rows)})
        file = Path(world.server.do("db.backup", {"appName": name})["backupPath"]).name
        told = {}
        for writes in (False, True):
            with _at_work(world, owned, writes=writes) as gaps:
                done = world.server.do("db.restore", {"appName": name, "backupName": file, "tables": ["orders"]})
            told[writes] = (done["details"]["waitedMs"] / 1000, max(gaps))
        world.server.do("apps.remove", {"appName": name})
        what = f"db.restore of a table: writes wait, {rows:,} rows"
        shown = f"the longest INSERT {told[True][1]:.2f} s; {told[False][0]:.2f} s where nobody writes"
        yield at_most(what, told[True][0], _TARGET, " s", ours=shown)


@contextmanager
def _at_work(world: World, owned: Credentials, *, writes: bool) -> Iterator[list[float]]:
    """A session that writes to the table, or asks, all through the block; the seconds of each statement."""
    gaps = [0.0]
    over = threading.Event()
    made = world.connection(owned)
    where = psycopg.conninfo.make_conninfo(
        host=made["PGHOST"],
        port=made["PGPORT"],
        user=made["PGUSER"],
        password=made["PGPASSWORD"],
        dbname=made["PGDATABASE"],
    )

    def work() -> None:
        with psycopg.connect(where, autocommit=True) as session:
            while not over.is_set():
                began = time.monotonic()
                if writes:
                    session.execute("INSERT INTO orders SELECT max(id) + 1, 'new', 'new' FROM orders")
                else:
                    session.execute("SELECT 1")
                gaps.append(time.monotonic() - began)
                over.wait(_PAUSE)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield gaps
    finally:
        over.set()
        thread.join()
