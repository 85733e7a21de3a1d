"""Surroundings that an app's SQL runs in besides its text: the settings of its database and of its role.

Whoever else runs code of the app (a restore does) must let it find what it finds in the app's own sessions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from psycopg import sql

from ikoma.model import AppName
from ikoma.postgres.connect import Connection

_TAKEN = frozenset(("timezone", "default_text_search_config", "lc_monetary", "lc_numeric", "lc_time", "xmloption"))
"""Settings by which functions work, and which change nothing in how a dump is read."""
_NOT_OURS = ("plpgsql.", "ikoma.")
_USUAL_PATH = '"$user", public'

# As PostgreSQL takes them at a login: for the role in this database, for the role, for the database.
_SETTINGS = """
SELECT entry FROM pg_db_role_setting AS s CROSS JOIN unnest(s.setconfig) AS entry
WHERE s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
  AND s.setrole IN (0, (SELECT oid FROM pg_roles WHERE rolname = %s))
ORDER BY s.setrole <> 0, s.setdatabase <> 0
"""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """`search_path` is a list of quoted schemas, as SET takes it."""

    search_path: str
    settings: Mapping[str, str] = field(default_factory=dict)


async def read_surroundings(connection: Connection, app: AppName) -> Surroundings:
    """The settings that hold in a session of the app's role in its database now.

    Args:
        connection: of an admin to this database.
    """
    entries = await (await connection.execute(_SETTINGS, (app.role,))).fetchall()
    given = _select_latest(entry for (entry,) in entries)
    path = given.pop("search_path", _USUAL_PATH)
    async with connection.transaction(force_rollback=True):
        await connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(app.role)))
        # From here on every name is written with its schema: the app's own could stand in for PostgreSQL's.
        await connection.execute("SELECT pg_catalog.set_config('search_path', %s, true)", (path,))
        row = await (await connection.execute("SELECT pg_catalog.current_schemas(true)")).fetchone()
    assert row is not None
    return Surroundings(", ".join(_quote(schema) for schema in row[0]), given)


def _select_latest(entries: Iterable[str]) -> dict[str, str]:
    """The settings that functions work by, each as it was given last."""
    found: dict[str, str] = {}
    for entry in entries:
        name, _, value = entry.partition("=")
        if name == "search_path" or name.lower() in _TAKEN or ("." in name and not name.startswith(_NOT_OURS)):
            found[name] = value
    return found


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
