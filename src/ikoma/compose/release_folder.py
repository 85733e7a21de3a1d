"""One release on this machine's disk: its folder, its copy of the source, and the files that its containers are given.

Only what stages and renders a release needs these paths. What an engine is told of a release is `ReleaseParts`
(ports/rollout.py).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ikoma.app_folder import App
from ikoma.compose.mounts import Sources, leads_astray
from ikoma.compose.paths import locate
from ikoma.model import AppName

TREE = "tree"
"""The release's copy of the source, in its folder."""


@dataclass(frozen=True, slots=True)
class ReleaseFolder:
    """The folder of one release.

    Args:
        root: the app's folder, links resolved.
        tree: the release's copy of the source.
        sources: which paths of the app's folder that is a copy of.
    """

    app: AppName
    release: str
    root: Path
    tree: Path
    sources: Sources

    @classmethod
    def locate(cls, app: App, release: str, sources: Sources) -> ReleaseFolder:
        """Locate the folder of a release of that id."""
        tree = app.state / "releases" / release / TREE
        return cls(app.name, release, Path(os.path.realpath(app.path)), tree, sources)

    def find_inside(self, path: str) -> Path | None:
        """The place in the release's copy of a path in the app's folder; None where that is no source."""
        real = Path(os.path.realpath(path))
        return self.tree / real.relative_to(self.root) if self.sources.keeps(real) else None

    def find_mounted(self, path: str) -> Path | None:
        """Find what is mounted in place of a path in the app's folder; None where that is data."""
        way = locate(path)
        if way.path == self.root / ".env":
            return self.dotenv_file
        if not self.sources.holds(way.path) or leads_astray(way, frozenset(self.sources.data)):
            return None
        return self.tree / way.path.relative_to(self.root)

    @property
    def path(self) -> Path:
        return self.tree.parent

    @property
    def compose_file(self) -> Path:
        """All that runs."""
        return self.path / "compose.json"

    @property
    def files(self) -> Path:
        """The folder of the files that containers are given one by one."""
        return self.path / "given"

    @property
    def dotenv_file(self) -> Path:
        """The .env that containers are given."""
        return self.files / ".env"
