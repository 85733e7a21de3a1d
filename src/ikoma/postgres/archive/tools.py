"""PostgreSQL's own programs for backups of a whole server, as argument lists; the password never stands in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from psycopg.conninfo import make_conninfo

SLOT = "ikoma_point_in_time"
"""The slot by which the server keeps what was not archived yet."""


def receive_wal(program: Path, wal: Path, parameters: Mapping[str, Any]) -> list[str]:
    """Write the log to a folder as it comes, from where that folder ends, until the connection does."""
    return [
        *(str(program), "--no-password", "--no-loop", "--status-interval=1"),
        *(f"--slot={SLOT}", f"--directory={wal}", f"--dbname={_connect(parameters)}"),
    ]


def copy_server(program: Path, target: Path, parameters: Mapping[str, Any]) -> list[str]:
    """Copy the whole server as it is, without the log: the archive has that."""
    return [
        *(str(program), "--no-password", "--format=plain", "--wal-method=none", "--checkpoint=fast"),
        *("--no-estimate-size", f"--pgdata={target}", f"--dbname={_connect(parameters)}"),
    ]


def verify_copy(program: Path, target: Path, wal: Path) -> list[str]:
    """Compare each file with the checksums that the server gave, and read the log that the copy needs."""
    return [str(program), "--exit-on-error", "--quiet", f"--wal-directory={wal}", "--", str(target)]


def _connect(parameters: Mapping[str, Any]) -> str:
    given = {name: parameters[name] for name in ("host", "port", "user")}
    return make_conninfo(**given, application_name="ikoma archive")
