"""The files that a backup of the server's state holds, and their places on a server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import orjson

from ikoma.errors import BackupDamaged
from ikoma.settings import Settings

TREE = "tree"
ABOUT, DATABASE, AUDIT = "about.json", "state.db", "audit"
SETTINGS = "home/.env"
CERTIFICATES = "proxy/data"

OF_THE_MACHINE = (
    *("APPS_ROOT", "IKOMA_STATE", "AUDIT_LOG", "BACKUPS_ROOT", "DOCKER_HOST", "PUBLIC_ADDRESS", "PROXY_PROCESS"),
    *("POSTGRES_HOST", "POSTGRES_PORT", "POSTGRES_DB", "POSTGRES_USER", "POSTGRES_PASSWORD"),
)
"""Settings that a new server has of its own: they are not taken from the backup."""


@dataclass(frozen=True, slots=True)
class AboutServer:
    """The server that a backup is of.

    Args:
        audit_log: the name of its audit log's file.
        key: the fingerprint of the key that signs its backups.
    """

    host: str
    ikoma: str
    apps_root: str
    apps: tuple[str, ...]
    audit_log: str
    key: str


def read_about(tree: Path) -> AboutServer:
    """Read of which server a backup is.

    Raises:
        BackupDamaged: it does not say so.
    """
    try:
        told = orjson.loads((tree / ABOUT).read_bytes())
        known = {item.name: told[item.name] for item in fields(AboutServer)}
        return AboutServer(**{**known, "apps": tuple(known["apps"])})
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise BackupDamaged("The backup does not say of which server it is.") from error


@dataclass(frozen=True, slots=True)
class StateFile:
    """A file or folder, and its path in the backup."""

    kept: str
    place: Path


def list_files(settings: Settings) -> Iterator[StateFile]:
    """List what is copied as it is; not all of it is on every server."""
    yield StateFile(SETTINGS, settings.env_file)
    yield StateFile("home/api-key.txt", settings.api_key_file)
    yield StateFile("home/known_hosts", settings.ikoma_home / "known_hosts")
    yield StateFile("backups.key", settings.ikoma_state / "backups.key")
    yield StateFile("tls", settings.postgres_folder / "tls")
    yield StateFile(CERTIFICATES, settings.ikoma_state / "proxy" / "data")
    if settings.source_ssh_key is not None:
        yield StateFile("given/source-ssh-key", settings.source_ssh_key)
    if settings.source_ca_file is not None:
        yield StateFile("given/source-ca-file", settings.source_ca_file)
