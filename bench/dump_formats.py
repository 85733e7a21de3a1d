"""Several workers beside one, on a database of 1 GB in four tables, and a packed dump beside a plain one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from bench.figures import Figure, at_least, at_most, seconds
from bench.world import World, ratio
from ikoma.durable import remove_tree
from tests.support import server as started_server

_TARGET, _PACKED = 1.5, 1.5
_TABLES, _ROWS = 4, 750_000
_TABLE = """
CREATE TABLE orders_{number} (
    id bigint PRIMARY KEY, customer text NOT NULL, placed_at timestamptz NOT NULL, note text NOT NULL);
INSERT INTO orders_{number} SELECT n, md5(n::text), timestamptz '2026-01-01' + n * interval '1 second',
    repeat(md5((n * 7)::text), 8) FROM generate_series(1, {rows}) n;
CREATE INDEX ON orders_{number} (customer);
"""


def dump_formats(world: World) -> Iterator[Figure]:
    """Text, packed text and the directory format alternate; each is proven, which is the time of its restore."""
    name = world.name("formats")
    dumps: dict[str, list[float]] = {}
    restores: dict[str, list[float]] = {}
    sizes: dict[str, int] = {}
    with started_server(PARALLEL_BACKUP_ABOVE_MB="0") as server:
        server.do("apps.init", {"appName": name})
        server.do("db.create", {"appName": name})
        for number in range(_TABLES):
            server.do("db.migrate", {"appName": name, "sql": _TABLE.format(number=number, rows=_ROWS), "timeout": 600})
        for _ in range(world.rounds):
            for ending in (".sql", ".sql.zst"):
                made = server.do("db.backup", {"appName": name, "backupName": f"bench{ending}"}, timeout=3600)
                dumps.setdefault(ending, []).append(made["dumpSeconds"])
                restores.setdefault(ending, []).append(made["restoreSeconds"])
                sizes[ending] = made["size"]
                server.do("backup.delete", {"appName": name, "backupName": f"bench{ending}"})
            whole = Path(server.do("backup.create", {"appName": name}, timeout=3600)["path"])
            told = json.loads((whole / "manifest.json").read_text())["manifest"]
            assert "database/toc.dat" in told["files"], "several workers have written it"
            dumps.setdefault("folder", []).append(told["database"]["seconds"])
            restores.setdefault("folder", []).append(told["restore_seconds"])
            remove_tree(whole)
    one, many = (_add(dumps[kind], restores[kind]) for kind in (".sql", "folder"))
    what = f"directory format, 2 workers, over plain, {sizes['.sql'] / 1e9:.1f} GB: dump and restore"
    yield at_least(what, ratio(one, many), _TARGET, "×", ours=seconds(many), beside=seconds(one))
    what = f"its dump alone, in {_TABLES} tables"
    alone = ratio(dumps[".sql"], dumps["folder"])
    yield at_least(what, alone, 1.0, "×", ours=seconds(dumps["folder"]), beside=seconds(dumps[".sql"]))
    what = f"packed dump ({sizes['.sql'] / sizes['.sql.zst']:.1f} times smaller) over plain: dump and restore"
    packed = _add(dumps[".sql.zst"], restores[".sql.zst"])
    yield at_most(what, ratio(packed, one), _PACKED, "×", ours=seconds(packed), beside=seconds(one))


def _add(first: list[float], second: list[float]) -> list[float]:
    return [sum(pair) for pair in zip(first, second, strict=True)]
