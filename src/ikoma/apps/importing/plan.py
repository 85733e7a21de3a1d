"""The plan of an import: what becomes of each service, volume, folder, variable and file of a Compose project."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from ikoma.apps.adapting.adapter import AdaptedFile
from ikoma.apps.importing.own_postgres import OwnPostgres
from ikoma.ports.projects import ComposeProject, ProjectContainer

_RATE = 50 << 20
"""Bytes that are copied in a second, or fewer."""
_RATE_OF_DIFFERENCE = 20 * _RATE
"""Bytes that are looked at for changes in a second, with what has changed copied, or fewer."""
_START_SECONDS = 20


@dataclass(frozen=True, slots=True)
class CopiedVolume:
    """A volume and the one that it is copied to; its size in bytes, None where it cannot be seen from here."""

    key: str
    old: str
    new: str
    size: int | None


@dataclass(frozen=True, slots=True)
class CopiedFolder:
    """A folder of data inside the project, relative to it."""

    path: str
    size: int


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """The acts of an import, before they are done. Nothing in it is secret.

    Args:
        services: service → what becomes of it.
        variables: names that its .env sets.
        files: compose files that change.
        texts: compose file → its text in the end.
        rehearsal: compose file → its text while the old project still runs.
        changes: how the compose files change, in words.
        left: what a person has to mend first.
        ports: ports of the server that the old project has until it is stopped.
        notes: what is not taken over, and why.
    """

    project: ComposeProject
    services: Mapping[str, str]
    variables: tuple[str, ...]
    volumes: tuple[CopiedVolume, ...]
    folders: tuple[CopiedFolder, ...]
    files: tuple[AdaptedFile, ...]
    texts: Mapping[str, str]
    rehearsal: Mapping[str, str]
    changes: tuple[str, ...]
    left: tuple[str, ...]
    ports: tuple[str, ...]
    notes: tuple[str, ...]
    database: OwnPostgres | None

    @property
    def stopped(self) -> list[ProjectContainer]:
        """The containers that are stopped once the new app is healthy."""
        return self.project.running

    @property
    def switches(self) -> bool:
        """Whether neither of the two runs for a while: data is copied a second time, or ports change hands."""
        return bool(self.stopped and (self.volumes or self.folders or self.database or self.ports))

    @property
    def writers(self) -> list[ProjectContainer]:
        """The running containers that are held still while their data is copied the first time."""
        return [
            item
            for item in self.stopped
            if any(mount.writable and mount.kind in ("volume", "bind") for mount in item.mounts)
            and (self.database is None or item.id != self.database.container.id)
        ]

    @property
    def seconds(self) -> int:
        """For how long neither of the two answers, about; 0 where nothing is copied while they are stopped."""
        if not self.switches:
            return 0
        size = sum(item.size or 0 for item in self.volumes) + sum(item.size for item in self.folders)
        return _START_SECONDS + size // _RATE_OF_DIFFERENCE

    @property
    def pause_seconds(self) -> int:
        """For how long the old containers are held still at first, about."""
        size = sum(item.size or 0 for item in self.volumes) + sum(item.size for item in self.folders)
        return 1 + size // _RATE if self.writers and (self.volumes or self.folders) else 0

    @property
    def sha256(self) -> str:
        """Tells whether the project, and what becomes of it, is what somebody has seen."""
        digest = hashlib.sha256()
        parts = [
            *(f"{item.path}\0{item.before}\0{item.after}" for item in self.files),
            *(f"{name}\0{text}" for name, text in sorted(self.rehearsal.items())),
            *(f"{name}\0{text}" for name, text in sorted(self.services.items())),
            *(f"{item.old}\0{item.new}" for item in self.volumes),
            *(item.path for item in self.folders),
            *(item.id for item in self.stopped),
            *self.variables,
            *self.left,
        ]
        for part in parts:
            digest.update(f"{len(part)}:{part}".encode())
        return digest.hexdigest()
