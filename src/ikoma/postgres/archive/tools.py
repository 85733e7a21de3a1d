"""PostgreSQL's own programs for backups of a whole server, as argument lists; the password never stands in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from psycopg.conninfo import make_conninfo

from ikoma.errors import DiskFull
from ikoma.postgres.connect import find_outage

SLOT = "ikoma_point_in_time"
"""The slot by which the server keeps what was not archived yet."""


def receive_wal(program: Path, wal: Path, parameters: Mapping[str, Any]) -> list[str]:
    """Write the log to a folder as it comes, from where that folder ends, until the connection does."""
    return [
        *(str(program), "--no-password", "--no-loop", "--status-interval=1"),
        *(f"--slot={SLOT}", f"--directory={wal}", f"--dbname={_connect(parameters)}"),
    ]


def copy_server(program: Path, target: Path, parameters: Mapping[str, Any], since: Path | None = None) -> list[str]:
    """Copy the whole server as it is, without the log: the archive has that.

    Args:
        since: the copy of which only what has changed is copied; all where None.
    """
    return [
        *(str(program), "--no-password", "--format=plain", "--wal-method=none", "--checkpoint=fast"),
        *([] if since is None else [f"--incremental={since / 'backup_manifest'}"]),
        *("--no-estimate-size", f"--pgdata={target}", f"--dbname={_connect(parameters)}"),
    ]


def verify_copy(program: Path, target: Path, wal: Path | None) -> list[str]:
    """Compare each file with the checksums that the server gave.

    Args:
        wal: where the log lies that the copy needs, to be read too; where None it is not.
    """
    log = "--no-parse-wal" if wal is None else f"--wal-directory={wal}"
    return [str(program), "--exit-on-error", "--quiet", log, "--", str(target)]


def combine(program: Path, links: Sequence[Path], target: Path, *, dry: bool = False) -> list[str]:
    """Make one whole copy of a full one and the incremental ones after it, in their order.

    Args:
        dry: see that they fit, and write nothing.
    """
    tried = ["--dry-run"] if dry else []
    return [
        *(str(program), *tried, "--no-sync", "--no-manifest", f"--output={target}"),
        *("--", *(str(link) for link in links)),
    ]


def require_room_left(said: Sequence[str]) -> None:
    """Refuse where a program says that the archive has no room left; its last word is of what it cleared away."""
    if isinstance(find_outage(said), DiskFull):
        raise DiskFull(
            "There is no space left on the disk of BACKUPS_ROOT.",
            hint="Make room on the disk of BACKUPS_ROOT, or keep fewer days (POINT_IN_TIME_DAYS).",
        )


def _connect(parameters: Mapping[str, Any]) -> str:
    given = {name: parameters[name] for name in ("host", "port", "user")}
    return make_conninfo(**given, application_name="ikoma archive")
