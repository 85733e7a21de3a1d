"""Containers, volumes and networks as Docker has them. Nothing above the engines knows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ikoma.ports.replicas import Lifecycle
from ikoma.ports.volumes import ResourceInfo


@dataclass(frozen=True, slots=True)
class Container(Lifecycle):
    """One container of an app as the engine sees it now."""

    id: str
    name: str
    service: str
    state: str
    """created, running, paused, restarting, removing, exited or dead."""
    health: str | None
    """healthy, unhealthy, starting, or None when the container has no healthcheck."""
    exit_code: int | None
    """Only where the container is not running."""
    image: str
    created_at: str
    working_dir: str | None
    """The folder of the Compose project it belongs to."""
    addresses: tuple[str, ...] = ()
    """Addresses on the networks of this machine."""
    published: tuple[tuple[str, int, int], ...] = ()
    """(host address, host port, container port) of each published TCP port."""
    one_shot: bool = False
    """True for a service that others wait for with service_completed_successfully."""
    is_job: bool = False
    """Whether it may end well: with exit code 0 it is done."""
    configuration: str | None = None
    """Checksum of what it was made of (label ikoma.configuration); None where IKOMA did not make it."""
    rollout: str | None = None
    """The rollout that made it (label ikoma.rollout)."""
    release: str | None = None
    """The release whose source, configs and secrets it mounts (label ikoma.release)."""
    networks: tuple[str, ...] = ()
    """Names of the networks it is in."""
    started_again: bool = False
    """Whether it runs since a few minutes, though it was made before: as far as a list of containers tells."""


@dataclass(frozen=True, slots=True)
class AnonymousVolume:
    """A volume without a name of its own, and where its service has it."""

    name: str
    target: str


@dataclass(frozen=True, slots=True)
class NetworkInfo(ResourceInfo):
    """A network as it was made."""

    subnets: tuple[str, ...] = ()
    internal: bool = False


@dataclass(frozen=True, slots=True)
class ResourceInventory:
    """All volumes and all networks of the engine, by name."""

    volumes: Mapping[str, ResourceInfo] = field(default_factory=dict)
    networks: Mapping[str, NetworkInfo] = field(default_factory=dict)

    @property
    def owners(self) -> Mapping[str, str]:
        """Names → the Compose project that made each; of two that share a name, any that has one."""
        found = dict[str, str]()
        for name, made in (*self.volumes.items(), *self.networks.items()):
            found[name] = made.project or found.get(name, "")
        return found


@dataclass(frozen=True, slots=True)
class CommandResult:
    """The end of a command."""

    exit_code: int
    out_of_memory: bool = False


@dataclass(frozen=True, slots=True)
class Owner:
    """The user that a process runs as, or that a folder belongs to."""

    uid: int
    gid: int


class ContainerNotStarted(Exception):
    """The engine cannot start a container; the text is its reason."""
