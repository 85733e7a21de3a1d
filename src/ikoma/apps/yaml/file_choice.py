"""The files of an app that Compose reads: the choice that `docker compose` makes in the app's folder.

`COMPOSE_FILE` in `.env` names them; else it is the first of four names, and the first of four overrides over it.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ikoma.app_folder import COMPOSE_NAMES, OVERRIDE_NAMES, App
from ikoma.apps.environment import dotenv
from ikoma.errors import FileMissing

_SEPARATOR = ":"
_DEEPEST = 3
_MOST_FOLDERS = 200
_NOT_THEIRS = frozenset(("node_modules", "vendor"))


@dataclass(frozen=True, slots=True)
class Chosen:
    """The files that are merged, the later over the earlier, as paths relative to the app's folder."""

    files: tuple[str, ...]
    passed_over: tuple[str, ...] = ()
    """Others that have such names."""
    is_named: bool = False
    """Whether COMPOSE_FILE names them."""

    @property
    def folder(self) -> str:
        """The folder that their paths are relative to, "" for the app's own."""
        return posixpath.dirname(posixpath.normpath(self.files[0]))


def choose(app: App, variables: Mapping[str, str]) -> Chosen:
    """The files of an app whose .env sets these variables.

    Raises:
        FileMissing: there is none.
    """
    if files := read_named(variables):
        return Chosen(files, is_named=True)
    names = [name for name in COMPOSE_NAMES if (app.path / name).is_file()]
    if not names:
        raise FileMissing(f"{app.name} has no docker-compose.yml.", hint=_describe_way_out(app))
    overrides = [name for name in OVERRIDE_NAMES if (app.path / name).is_file()]
    return Chosen((names[0], *overrides[:1]), (*names[1:], *overrides[1:]))


def read_named(variables: Mapping[str, str]) -> tuple[str, ...]:
    """The files that COMPOSE_FILE names; none where it does not say."""
    parts = variables.get("COMPOSE_FILE", "").split(variables.get("COMPOSE_PATH_SEPARATOR") or _SEPARATOR)
    return tuple(part for part in parts if part)


def read_chosen(app: App, path: str, limit: int, contents: Mapping[str, bytes]) -> bytes:
    """One of the files, at most so many bytes of it.

    Args:
        contents: what files hold that are not to be read from the disk.

    Raises:
        FileMissing: COMPOSE_FILE names it, and it is not there.
    """
    if path in contents:
        return contents[path]
    try:
        return app.read_inside(app.path / path, limit)
    except FileMissing as error:
        problem = f"{path} is not there, and COMPOSE_FILE in .env names it."
        raise FileMissing(problem, hint="Correct COMPOSE_FILE, or bring the file.") from error


def list_paths(app: App) -> list[Path]:
    """The files as they are now; what should be there where none is."""
    try:
        return [app.path / name for name in choose(app, dotenv.read_written(app)).files]
    except FileMissing:
        return [app.compose_file]


def _describe_way_out(app: App) -> str:
    for found in _find_below(app.path, _DEEPEST):
        return f"COMPOSE_FILE={os.path.relpath(found, app.path)} in .env makes that file the app's."
    return "apps.init writes one without touching other files; or put your own there."


def _find_below(folder: Path, depth: int) -> Iterator[Path]:
    """Compose files in the folders of a folder, the nearest first."""
    level = [folder]
    for _ in range(depth):
        level = [inside for one in level for inside in _list_folders(one)][:_MOST_FOLDERS]
        yield from (one / name for one in level for name in COMPOSE_NAMES if (one / name).is_file())


def _list_folders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            inside = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return [folder / name for name in sorted(inside) if not name.startswith(".") and name not in _NOT_THEIRS]
