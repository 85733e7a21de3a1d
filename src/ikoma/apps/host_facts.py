"""Facts of the server that the policy needs to judge one app's compose file."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from ikoma.apps.app import App

IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

IMAGES = "ikoma-app"
"""The name under which all images that are built here stand: ikoma-app/APP/SERVICE."""

_MOST_LINKS = 40
_OF_PROCESSES = re.compile(r"/proc/([0-9]+|self|thread-self)(/|$)")
"""Folders that lead to all that a process sees."""
_MOST_STEPS = 500
_REST = "([-_.][A-Za-z0-9_.-]*)?"
_COMPONENT = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*")


def name_image(app: str, service: str) -> str:
    """The name of the image that a service of an app is built as."""
    return f"{name_images_prefix(app)}{_encode_component(service)}"


def name_images_prefix(app: str) -> str:
    """Make the prefix of the names of all images that are built for an app."""
    return f"{IMAGES}/{_encode_component(app)}/"


def _encode_component(name: str) -> str:
    """Encode a name as a part of an image's, which takes fewer; two names never become the same."""
    if _COMPONENT.fullmatch(name) and not name.startswith("x-"):
        return name
    return f"x-{hashlib.sha256(name.encode()).hexdigest()[:24]}"


@dataclass(frozen=True, slots=True)
class LocatedPath:
    """The target of a path, and every folder that was looked into on the way: who may write one can change the way."""

    path: Path
    through: tuple[Path, ...]

    @property
    def passed(self) -> set[Path]:
        """The folders of the way, and all above them."""
        found: set[Path] = set()
        for step in self.through:
            while step not in found:
                found.add(step)
                step = step.parent
        return found


def locate(path: str) -> LocatedPath:
    """Follow an absolute path, link by link, as the kernel would; a way without end leads to `/`, which is nobody's."""
    here = Path("/")
    through: list[Path] = []
    steps = list(reversed(Path(path).parts[1:]))
    links = 0
    while steps:
        step = steps.pop()
        if step == "..":
            here = here.parent
            continue
        if len(through) == _MOST_STEPS:
            return LocatedPath(Path("/"), tuple(through))
        through.append(here)
        try:
            target = (here / step).readlink()
        except (OSError, ValueError):  # no link, nothing there yet, or nothing that can be
            here /= step
            continue
        links += 1
        if links > _MOST_LINKS:
            return LocatedPath(Path("/"), tuple(through))
        if target.is_absolute():
            here = Path("/")
        steps.extend(reversed(target.parts[1:] if target.is_absolute() else target.parts))
    return LocatedPath(here, tuple(through))


@dataclass(frozen=True, slots=True)
class HostFacts:
    """The server, as one app's file is checked against it."""

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
    neighbours: tuple[IpNetwork, ...] = ()
    """Networks that the server itself is in or has routes to, and addresses that it needs; no containers'."""
    platform: tuple[Path, ...] = ()
    """Files and folders of the platform and of all apps, links resolved."""
    files: tuple[LocatedPath, ...] = ()
    """Files that Compose reads to understand the app's: they say what runs next."""
    built: frozenset[str] = frozenset()
    """Names of the images that are built by the file that is checked."""

    @property
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
