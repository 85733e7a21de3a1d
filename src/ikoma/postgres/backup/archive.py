"""Restores an archive that another server's pg_dump made into an app's empty database, with the app's own rights.

The archive is what a stranger's program wrote. pg_restore sends what is in it to the server and nowhere else: psql
would also obey its backslash commands, on this machine.
"""

from __future__ import annotations

from pathlib import Path

from psycopg.conninfo import make_conninfo

from ikoma.errors import DatabaseNotMoved
from ikoma.ports.databases import Credentials
from ikoma.postgres.connect import connected, find_outage
from ikoma.postgres.server.server import PostgresServer
from ikoma.postgres.server.tools import find_tool
from ikoma.run import run

_SECONDS = 24 * 3600.0
_LONGEST = 500


async def restore_archive(server: PostgresServer, credentials: Credentials, path: Path) -> None:
    """Restore an archive of pg_dump's custom format, whole or not at all.

    Raises:
        DatabaseNotMoved: a statement failed; the sentence is pg_restore's own.
    """
    async with connected(server.make_admin_login()) as connection:
        major = connection.info.server_version // 10_000
    program = await find_tool("pg_restore", major)
    parameters = server.make_app_login(credentials)
    password = parameters.pop("password")
    options = ("--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction", "--no-password")
    argv = [str(program), *options, f"--dbname={make_conninfo(**parameters)}", str(path)]
    finished = await run(argv, env={"PGPASSWORD": password}, timeout=_SECONDS)
    if finished.code != 0:
        lines = finished.stderr.decode(errors="replace").strip().splitlines()
        if (outage := find_outage(lines)) is not None:
            raise outage
        said = next((line for line in lines if "error:" in line), lines[-1] if lines else f"exit code {finished.code}")
        reason = said.partition("error: ")[2] or said
        raise DatabaseNotMoved(
            f"The dump cannot be restored here: {reason[:_LONGEST]}",
            audit_message="The dump cannot be restored here.",
        )
