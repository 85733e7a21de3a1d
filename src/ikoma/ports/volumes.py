"""The seam to the volumes that apps keep their data in, and what is there already beside a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ikoma.app_folder import App
from ikoma.compose.model import ComposeModel
from ikoma.model import AppName


@dataclass(frozen=True, slots=True)
class ResourceInfo:
    """A volume or a network as it was made."""

    project: str
    """The Compose project it belongs to; "" where it belongs to none."""
    driver: str
    options: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class VolumeWriter:
    """A replica, or something that somebody else runs, that may write to a volume."""

    id: str
    """Opaque, as the id of a replica is."""
    project: str
    """The Compose project that it is of; "" where it is of none."""
    state: str
    """running, paused or restarting."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A volume or network of a model that is there already, and was made otherwise."""

    kind: str
    key: str
    what: str
    """Which of its settings."""
    matters: bool
    """Whether it would not do what the model says: of a label nothing depends."""
    fix: str

    @property
    def problem(self) -> str:
        return f"The {self.kind} {self.key} exists, and was made with other {self.what}: it stays as it is."


@dataclass(frozen=True, slots=True)
class SubnetOverlap:
    """A subnet that a network of a model chooses, and another network has addresses of."""

    key: str
    subnet: str
    name: str
    """The name of the other network."""
    is_own: bool
    """Whether that one is the app's own."""


@dataclass(frozen=True, slots=True)
class ExistingResources:
    """The volumes and networks that are there, beside a model that names some."""

    volumes: frozenset[str]
    """Names of all volumes, whosever."""
    owners: Mapping[str, str]
    """All volumes and networks, as `Volumes.map_owners` tells of them."""
    differences: tuple[Difference, ...] = ()
    overlaps: tuple[SubnetOverlap, ...] = ()
    anonymous: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """service → path in its replicas → the volume without a name of its own that it had last there.

    Empty where an engine has no such volumes.
    """


class Volumes(Protocol):
    """The volumes that apps keep their data in."""

    async def map_owners(self) -> Mapping[str, str]:
        """Names of all volumes and networks → the Compose project that made each, "" where none did."""

    async def compare(self, app: App, model: ComposeModel) -> ExistingResources:
        """Find what is there already of the volumes and networks that a model names."""

    async def list_of(self, app: App) -> Sequence[str]:
        """Names of all volumes that hold data of an app."""

    async def describe_all(self) -> Mapping[str, ResourceInfo]:
        """All volumes that are there, as they were made."""

    async def locate(self, name: str) -> Path | None:
        """The folder of a volume's files; None where there is none, or it is not seen from here."""

    async def list_writers(self, name: str) -> Sequence[VolumeWriter]:
        """List what has a volume other than read-only, and runs or is paused."""

    async def list_holders(self, app: AppName, name: str) -> Sequence[str]:
        """Names of what has a volume, runs or not, and is not the app's own: as long as it is there, the volume is."""

    def describe_new(self, project: str, key: str) -> ResourceInfo:
        """Describe how a volume of a project is made that its model calls `key`, where nothing else is said."""

    def describe_as_of(self, project: str, made: ResourceInfo) -> ResourceInfo:
        """Describe how a volume that was made for one project is made for another."""

    async def remove(self, name: str) -> None:
        """Remove a volume that nothing has."""

    async def load(self, app: AppName, volume: str, made: ResourceInfo, source: Path) -> None:
        """Make a volume as it was made once, and fill it with what `save` wrote. It must not be there yet."""

    async def save(self, app: AppName, volume: str, target: Path) -> int:
        """Write a volume's content to `target` as a tar file, whole or not at all; its size."""
