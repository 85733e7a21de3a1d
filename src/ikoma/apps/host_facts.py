"""Facts of the server that the policy needs to judge one app's compose file."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

from ikoma.app_folder import App
from ikoma.compose.paths import LocatedPath
from ikoma.ports.engine_facts import EngineTraits

IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


_OF_PROCESSES = re.compile(r"/proc/([0-9]+|self|thread-self)(/|$)")
"""Folders that lead to all that a process sees."""
_REST = "([-_.][A-Za-z0-9_.-]*)?"


@dataclass(frozen=True)
class HostFacts:
    """The server, as one app's file is checked against it. What few files are judged by is found where a rule asks."""

    app: App
    other_apps: frozenset[str] = frozenset()
    platform_ports: Mapping[int, str] = field(default_factory=dict)
    """Host ports of the platform → what uses them."""
    registries: tuple[str, ...] = ("*",)
    """Globs of the registries that images may come from."""
    pinned: bool = False
    """Whether images must name their digest."""
    writable: tuple[Path, ...] = ()
    """Folders that containers of this app, running now, may write."""
    owners: Mapping[str, str] = field(default_factory=dict)
    """Volumes and networks that are there → the Compose project they belong to, "" where they belong to none."""
    find_neighbours: Callable[[], tuple[IpNetwork, ...]] = tuple
    """Find the networks that the server itself is in or has routes to, and addresses that it needs; no containers'."""
    platform: tuple[Path, ...] = ()
    """Files and folders of the platform and of all apps, links resolved."""
    find_files: Callable[[], tuple[LocatedPath, ...]] = tuple
    """Find the files that Compose reads to understand the app's: they say what runs next."""
    engine: EngineTraits = field(default_factory=EngineTraits)
    built: frozenset[str] = frozenset()
    """Names of the images that are built by the file that is checked."""

    @cached_property
    def root(self) -> Path:
        """The app's folder, its links resolved."""
        return Path(os.path.realpath(self.app.path))

    def is_inside(self, path: Path) -> bool:
        return path == self.root or self.root in path.parents

    def is_state(self, path: Path) -> bool:
        """Whether this is the app's whole folder or IKOMA's own records in it."""
        return path == self.root or path == self.root / ".ikoma" or self.root / ".ikoma" in path.parents

    def is_platforms(self, path: Path) -> bool:
        """Whether this is, holds or lies in what is the platform's or another app's."""
        if self.is_inside(path):
            return False
        apart = all(path != item and item not in path.parents and path not in item.parents for item in self.platform)
        return not apart or _OF_PROCESSES.match(str(path)) is not None

    def may_be_named(self, name: str) -> bool:
        """Whether a volume or network of that name is this app's: named after it, and made by nobody else."""
        mine = self.app.name
        named = re.fullmatch(f"{re.escape(mine)}{_REST}", name) is not None
        longer = (other for other in self.other_apps if len(other) > len(mine))
        claimed = any(re.fullmatch(f"{re.escape(other)}{_REST}", name) for other in longer)
        return named and not claimed and self.owners.get(name, mine) in (mine, "")

    def is_taken(self, name: str) -> bool:
        """Whether a name is another app's or the platform's."""
        others = (*self.other_apps, "ikoma")
        return not self.may_be_named(name) and any(re.fullmatch(f"{re.escape(other)}{_REST}", name) for other in others)

    def is_others(self, name: str) -> bool:
        """Whether a volume of that name is another app's or the platform's."""
        return not self.may_be_named(name) and (self.is_taken(name) or self.owners.get(name) in self.other_apps)

    def allows_registry(self, registry: str) -> bool:
        return any(fnmatchcase(registry, glob) for glob in self.registries)
