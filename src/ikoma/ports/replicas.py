"""An app as it is now: services, their replicas, and where these are reached.

A replica's id means something to its engine alone: others keep it, compare it and hand it back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ikoma.rollout_state import RolloutView


class ReplicaPart(StrEnum):
    """The part that a replica has in its app."""

    SERVES = "serves"
    STARTING = "starting"
    """A rollout under way has made it, and it does not serve yet."""
    STANDBY = "standby"
    """Stopped, and could serve again."""
    LEAVING = "leaving"
    """Replaced, and about to go."""


class Lifecycle:
    """The stage of life of a replica, or of what an engine makes one of."""

    __slots__ = ()

    state: str
    exit_code: int | None
    is_job: bool

    @property
    def is_done(self) -> bool:
        """Whether it is a job that has ended well."""
        return self.is_job and self.state == "exited" and self.exit_code == 0

    @property
    def is_active(self) -> bool:
        """Whether it has what it is given for itself, or will have it again in a moment."""
        return self.state in ("running", "restarting", "paused")


@dataclass(frozen=True, slots=True)
class Replica(Lifecycle):
    """One copy of a service, as it is now."""

    id: str
    """Opaque: it means something to its engine alone."""
    name: str
    service: str
    state: str
    """created, running, paused, restarting, removing, exited or dead."""
    health: str | None
    """healthy, unhealthy, starting, or None when the service has no healthcheck."""
    exit_code: int | None
    """Only where it is not running."""
    image: str
    created_at: str
    folder: str | None = None
    """The app's folder that it was made for."""
    host: str | None = None
    """Where this machine reaches it, or all replicas of its service at once; None where it does not."""
    ports: Mapping[int, int] = field(default_factory=dict)
    """Ports of it that are reached by another number there."""
    published: tuple[tuple[str, int, int], ...] = ()
    """(host address, port there, port of the replica) of each published TCP port."""
    part: ReplicaPart = ReplicaPart.SERVES
    one_shot: bool = False
    """True for a service that others wait for with service_completed_successfully."""
    is_job: bool = False
    """Whether it may end well: with exit code 0 it is done."""
    configuration: str | None = None
    """Checksum of what it was made of; None where IKOMA did not make it."""
    release: str | None = None
    """The release whose source, configs and secrets it has."""
    releases: tuple[str, ...] = ()
    """Releases of it: the one that made it, and those it serves, is to serve or could serve."""
    started_again: bool = False
    """Whether it runs since a few minutes, though it was made before: as far as a list of replicas tells."""

    def find_endpoint(self, port: int) -> str | None:
        """Find where this machine reaches a port of it, as host:port; None where it does not.

        Replicas of a service may have the same one, where their engine shares requests among them.
        """
        return f"{self.host}:{self.ports.get(port, port)}" if self.host and self.state == "running" else None


@dataclass(frozen=True, slots=True)
class AppState:
    """All that an app has now, and its records of the same moment."""

    replicas: tuple[Replica, ...]
    record: RolloutView

    @property
    def serving(self) -> tuple[Replica, ...]:
        """The replicas that serve, or served last where the app is down."""
        return self.select(ReplicaPart.SERVES)

    @property
    def services(self) -> Mapping[str, tuple[Replica, ...]]:
        """service → its replicas that serve."""
        names = dict.fromkeys(item.service for item in self.serving)
        return {name: tuple(item for item in self.serving if item.service == name) for name in names}

    def select(self, *parts: ReplicaPart) -> tuple[Replica, ...]:
        """Select the replicas that have one of these parts."""
        return tuple(item for item in self.replicas if item.part in parts)
