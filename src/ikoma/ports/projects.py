"""The seam to Compose projects that somebody else has put on this machine: found, looked at, stopped."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ProjectMount:
    """A mount of a container. `source` is the volume's name, or the folder of the server."""

    kind: str
    """volume, bind or tmpfs."""
    source: str
    target: str
    writable: bool


@dataclass(frozen=True, slots=True)
class ProjectContainer:
    """One container of a project."""

    id: str
    name: str
    service: str
    state: str
    """running, paused, exited …"""
    restart: str
    """Restart policy, as `docker update --restart` takes it."""
    started_at: str
    """RFC 3339; "" where it was never started."""
    ports: tuple[int, ...]
    """TCP and UDP ports of the server that it publishes."""
    mounts: tuple[ProjectMount, ...]
    is_platforms: bool
    """Whether IKOMA made it."""

    @property
    def runs(self) -> bool:
        return self.state in ("running", "paused", "restarting")


@dataclass(frozen=True, slots=True)
class ComposeProject:
    """A Compose project as its containers tell of it; those that ran earlier begin the list."""

    name: str
    folder: str
    """The folder of its files, as Compose noted it; "" where that is not known."""
    files: tuple[str, ...]
    """Compose files, the later over the earlier."""
    env_files: tuple[str, ...]
    containers: tuple[ProjectContainer, ...]

    @property
    def root(self) -> Path:
        """The folder, links resolved."""
        return Path(os.path.realpath(self.folder))

    @property
    def running(self) -> list[ProjectContainer]:
        return [item for item in self.containers if item.runs]

    def find(self, service: str) -> ProjectContainer | None:
        """Find the container of a service, one that runs before others."""
        found = [item for item in self.containers if item.service == service]
        return next((item for item in found if item.runs), found[0] if found else None)


class ComposeProjects(Protocol):
    """Compose projects on this machine. Each act is done when it returns; doing it again changes nothing."""

    async def list_all(self) -> Sequence[ComposeProject]:
        """List all projects that have containers."""

    async def stop(self, container: str) -> None:
        """Ask a container to end, and end it when its own time to stop is over."""

    async def start(self, container: str) -> None: ...

    async def set_restart(self, container: str, policy: str) -> None:
        """Say when the engine starts it again by itself: no, always, unless-stopped, on-failure:3."""

    async def read_variables(self, container: str) -> Mapping[str, str]:
        """The variables that a container was made with. They can be secret."""

    async def run_inside(
        self, container: str, command: Sequence[str], variables: Mapping[str, str], output: Path, *, timeout: float
    ) -> tuple[int, str]:
        """Run a command inside a container; its exit code, and the end of what it said on standard error.

        Args:
            output: the file that its standard output goes to.
        """
