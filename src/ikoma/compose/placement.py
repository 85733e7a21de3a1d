"""The places of the parts of one release: its copy of the source, its images and the values of its variables."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from ikoma.compose.model import ComposeModel
from ikoma.compose.mounts import Sources, leads_astray
from ikoma.compose.paths import locate
from ikoma.model import AppName


@dataclass(frozen=True, slots=True)
class Placement:
    """The places of the parts of one release.

    Args:
        root: the app's folder, links resolved.
        tree: the release's copy of the source.
        images: service → id of the image that it runs.
        given: values of the variables that the release was made with.
        contents: digest of a source's content by its path in the app's folder.
    """

    app: AppName
    release: str
    root: Path
    tree: Path
    sources: Sources
    images: Mapping[str, str]
    given: Mapping[str, str]
    contents: Callable[[Path], str]
    dotenv: bytes = b""
    """The app's .env as the release was made with it."""
    marks: Mapping[str, str] = field(default_factory=dict)
    """Checksums of data that a person deploys too, by path in the app's folder."""

    def find_inside(self, path: str) -> Path | None:
        """The place in the release's copy of a path in the app's folder; None where that is no source."""
        real = Path(os.path.realpath(path))
        return self.tree / real.relative_to(self.root) if self.sources.keeps(real) else None

    def find_mounted(self, path: str) -> Path | None:
        """Find what is mounted in place of a path in the app's folder; None where that is data."""
        way = locate(path)
        if way.path == self.root / ".env":
            return self.files / ".env"
        if not self.sources.holds(way.path) or leads_astray(way, frozenset(self.sources.data)):
            return None
        return self.tree / way.path.relative_to(self.root)

    @property
    def folder(self) -> Path:
        """The folder of the release."""
        return self.tree.parent

    @property
    def compose_file(self) -> Path:
        """All that runs."""
        return self.folder / "compose.json"

    @property
    def files(self) -> Path:
        """The folder of the files that containers are given one by one."""
        return self.tree.with_name("given")

    def compute_configurations(self, model: ComposeModel) -> dict[str, str]:
        """For each service a checksum of all that its containers are made of: equal ones need not be replaced."""
        return {name: self._configuration(model, name) for name in model.services}

    def _configuration(self, model: ComposeModel, name: str) -> str:
        described = model.services[name]
        service = {key: value for key, value in described.raw.items() if key not in _NO_PART}
        service["deploy"] = {key: value for key, value in (service.get("deploy") or {}).items() if key != "replicas"}
        binds = [mount.source for mount in described.binds]
        given = {
            kind: {str(item.get("source")): model.find_content(kind, item) for item in items}
            for kind, items in described.contents.items()
        }
        items = [item for kind in given.values() for item in kind.values()]
        read = [item["file"] for item in items if item.get("file")]
        variables = [self.given.get(item["environment"]) for item in items if item.get("environment")]
        kept = [*filter(self.find_mounted, binds), *filter(self.find_inside, read)]
        contents = {path: self._content(Path(os.path.realpath(path))) for path in kept}
        # How containers get out: the networks they are in, less what changes with each rollout.
        declared = model.raw.get("networks") or {}
        networks = {key: declared.get(key) for key in described.networks}
        marks = {path: mark for path in binds for place, mark in self.marks.items() if self._lies_in(path, place)}
        whole = [service, self.images.get(name), given, variables, contents, networks, *([marks] if marks else [])]
        return hashlib.sha256(orjson.dumps(whole, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]

    def _lies_in(self, path: str, place: str) -> bool:
        real = Path(os.path.realpath(path))
        return self.root / place in (real, *real.parents)

    def _content(self, path: Path) -> str:
        if path == self.root / ".env":
            return hashlib.sha256(self.dotenv).hexdigest()
        return self.contents(path)


_NO_PART = ("image", "build", "depends_on", "scale", "pull_policy", "profiles")
