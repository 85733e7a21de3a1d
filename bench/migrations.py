"""db.migrate of a file with 20,000 statements against `psql -1 -f` with the same file."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

from bench.figures import Figure, at_most, seconds
from bench.world import World, postgres_program, ratio, took

_TARGET = 1.0
_STATEMENTS = 20_000
_HEAD = "CREATE TABLE entries (id int PRIMARY KEY, name text NOT NULL, amount numeric(12, 2) NOT NULL);\n"
_MIGRATION = _HEAD + "".join(
    f"INSERT INTO entries (id, name, amount) VALUES ({n}, 'entry number {n}', {n}.25);\n" for n in range(1, _STATEMENTS)
)


def migrations(world: World) -> Iterator[Figure]:
    """Each run has a fresh database, and both work as an app's own role."""
    ours: list[float] = []
    beside: list[float] = []
    for number in range(world.rounds):
        name, _ = world.database(f"migrate-{number}")
        folder = world.server.apps / name / "migrations"
        (folder / "001_entries.sql").write_text(_MIGRATION)
        ours.append(took(lambda name=name: world.server.do("db.migrate", {"appName": name})))  # type: ignore[misc]
        _, owned = world.database(f"psql-{number}")
        argv = [postgres_program("psql"), "-X", "-q", "-1", "-v", "ON_ERROR_STOP=1"]
        argv += ["-f", str(folder / "001_entries.sql")]
        run = {"check": True, "env": world.connection(owned)}
        beside.append(took(lambda argv=argv, run=run: subprocess.run(argv, **run)))  # type: ignore[misc]
    what = f"db.migrate of {_STATEMENTS:,} statements over `psql -1 -f`"
    yield at_most(what, ratio(ours, beside), _TARGET, "×", ours=seconds(ours), beside=seconds(beside))
