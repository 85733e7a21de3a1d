"""Facts of an engine as plain data: what the policy judges by, and what messages to people name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class EngineTraits:
    """The traits of an engine, whatever runs there."""

    folders: tuple[Path, ...] = ()
    """Folders of this machine that images and volumes lie in; they may be missing where the engine runs elsewhere."""
    network_drivers: frozenset[str] = frozenset()
    """Drivers that an app's networks may have."""
    network_options: frozenset[str] = frozenset()
    """Options of such drivers that an app may set."""
    volume_command: str = ""
    """How a person makes a volume of an app by hand, with {project}, {key} and {name} for the volume's own."""

    def word_volume_command(self, project: str, key: str, name: str) -> str:
        """Word the command that makes a volume by hand."""
        return self.volume_command.format(project=project, key=key, name=name)


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """An engine, as one app's model is judged against it."""

    traits: EngineTraits = field(default_factory=EngineTraits)
    owners: Mapping[str, str] = field(default_factory=dict)
    """Volumes and networks that are there → the Compose project that made each, "" where none did."""
    has_replicas: bool = False
    """Whether the app has replicas, running or not, that could write to what is mounted."""
