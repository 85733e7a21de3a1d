"""Apps on disk: folders under APPS_ROOT, and the ways into one that cannot lead out of it."""

from __future__ import annotations

import difflib
import os
import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ikoma.durable import sweep
from ikoma.errors import AppNotFound, FileMissing, PathOutside
from ikoma.model import AppName

COMPOSE_NAMES = ("docker-compose.yml", "docker-compose.yaml", "compose.yaml", "compose.yml")


@dataclass(frozen=True, slots=True)
class App:
    """One app's folder. IKOMA's own state about it is under `.ikoma`, readable by its owner only."""

    name: AppName
    path: Path

    @property
    def exists(self) -> bool:
        """Whether the folder is there; a link is no app."""
        try:
            return stat.S_ISDIR(os.lstat(self.path).st_mode)
        except FileNotFoundError:
            return False

    @property
    def env_file(self) -> Path:
        return self.path / ".env"

    @property
    def source(self) -> Path:
        return self.path / "src"

    @property
    def migrations(self) -> Path:
        return self.path / "migrations"

    @property
    def seeds(self) -> Path:
        return self.path / "seeds"

    @property
    def state(self) -> Path:
        return self.path / ".ikoma"

    @property
    def runbook(self) -> Path:
        return self.path / "RUNBOOK.md"

    @property
    def compose_file(self) -> Path:
        """The compose file that is there, or the one that should be."""
        for name in COMPOSE_NAMES:
            if (self.path / name).is_file():
                return self.path / name
        return self.path / COMPOSE_NAMES[0]

    def require_compose_file(self) -> Path:
        path = self.compose_file
        if not path.is_file():
            raise FileMissing(
                f"{self.name} has no docker-compose.yml.",
                hint="apps.init writes one without touching other files; or put your own there.",
            )
        self.check_inside(path)
        return path

    def make_state(self) -> Path:
        """The `.ikoma` folder, made when absent."""
        self.state.mkdir(mode=0o700, exist_ok=True)
        return self.state

    def check_inside(self, path: Path) -> Path:
        """The path with its links resolved; PathOutside when that is not inside the app's folder."""
        resolved, root = Path(os.path.realpath(path)), Path(os.path.realpath(self.path))
        if resolved != root and root not in resolved.parents:
            raise PathOutside(f"{_shown(path, self.path)} leads outside the folder of {self.name}.")
        return resolved


class Apps:
    """All apps under one root."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self) -> list[AppName]:
        """The names of all apps, sorted. Other folders and files under the root are passed over."""
        found = []
        with os.scandir(self.root) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    try:
                        found.append(AppName.parse(entry.name))
                    except ValueError:
                        continue
        return sorted(found)

    def sweep(self) -> None:
        """Remove the temporary files that killed processes left where IKOMA writes inside apps."""
        for name in self.names():
            app = self.at(name)
            releases = app.state / "releases"
            for doomed in app.state.glob("deleting-*"):
                shutil.rmtree(doomed)
            for folder in (app.path, app.path / "config", app.state, releases, *releases.glob("*/")):
                if folder.is_dir() and not folder.is_symlink():
                    sweep(folder)

    def at(self, name: AppName) -> App:
        """The app of that name, whether or not its folder exists."""
        return App(name, self.root / name)

    def find(self, name: AppName, visible: Callable[[str], bool] = lambda _: True) -> App:
        """The app of that name.

        Args:
            visible: which names may be suggested to this caller when there is none.

        Raises:
            AppNotFound: with the nearest name.
        """
        app = self.at(name)
        if not app.exists:
            near = difflib.get_close_matches(name, [other for other in self.names() if visible(other)], n=1)
            raise AppNotFound(f"There is no app {name!r}.", hint=f"Did you mean {near[0]}?" if near else None)
        return app


def _shown(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
