"""psql for a person: which program, and how it gets in."""

from __future__ import annotations

from pathlib import Path

from ikoma.errors import DatabasesUnavailable
from ikoma.model import Secret
from ikoma.ports.databases import Credentials
from ikoma.postgres.server import cluster
from ikoma.postgres.server.server import ADMIN_OPTIONS
from ikoma.postgres.server.tools import find_bundled
from ikoma.settings import Settings


def make_psql_session(
    settings: Settings, credentials: Credentials | None, database: str
) -> tuple[list[str], dict[str, str]]:
    """The argument list and the variables of a psql in this database.

    Args:
        credentials: the app's own role; the platform's when None.
    """
    port, password = _find_server(settings)
    # POSTGRES_USER names the role of an external server; the embedded one has its own.
    admin = settings.postgres_user if settings.postgres_host else cluster.ADMIN
    user = credentials.role if credentials else admin
    secret = credentials.password if credentials else password
    variables = {
        "PGHOST": settings.postgres_host or "127.0.0.1",
        "PGPORT": str(port),
        "PGUSER": user,
        "PGPASSWORD": secret.reveal(),
        "PGDATABASE": database,
    }
    if credentials is None:
        variables["PGOPTIONS"] = ADMIN_OPTIONS
    program: Path = find_bundled() / "bin" / "psql"
    return [str(program)], variables


def _find_server(settings: Settings) -> tuple[int, Secret]:
    if settings.postgres_host is not None:
        return settings.postgres_port or 5432, settings.postgres_password or Secret("")
    root = settings.ikoma_state / "postgres"
    port = cluster.read_remembered_port(root)
    if port is None:
        raise DatabasesUnavailable("PostgreSQL has not been started yet.", hint="Start it with `ikoma up`.")
    return port, Secret(cluster.read_password(root))
