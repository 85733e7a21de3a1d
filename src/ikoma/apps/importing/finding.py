"""Finds the Compose project that is to be taken over: by its name, or by the folder of its files."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Sequence
from pathlib import Path

from ikoma.app_folder import COMPOSE_NAMES
from ikoma.apps.app import Apps
from ikoma.errors import Next, NotImportable, ProjectNotFound
from ikoma.model import quote_name
from ikoma.ports.projects import ComposeProject
from ikoma.ports.runtime import Engine

_NO_FOLDERS = ("/", "/etc", "/proc", "/sys", "/dev", "/run", "/boot", "/root", "/home", "/srv", "/var", "/opt", "/usr")
COPIES = ".to-import"
"""The folder under APPS_ROOT that a project is copied to where IKOMA cannot see its own."""


class ProjectFinder:
    """Finds projects.

    Args:
        platform: folders that are the platform's own.
    """

    def __init__(self, engine: Engine, apps: Apps, platform: Sequence[Path]) -> None:
        self._engine = engine
        self._apps = apps
        self._platform = platform

    async def find(self, source: str) -> ComposeProject:
        """Find the project of a name or of a folder's path; its folder is one that can be read here.

        Raises:
            ProjectNotFound: there is none of that name, or no compose file in that folder.
            NotImportable: IKOMA itself runs it, its files cannot be taken from where they are, or this engine takes
                over none.
        """
        known = await self._engine.require_projects().list_all()
        found = _find_by_folder(source, known) if source.startswith("/") else _find_by_name(source, known)
        if any(item.is_platforms for item in found.containers):
            raise NotImportable(
                f"IKOMA runs the project {found.name} already.",
                hint="apps.list shows its apps.",
                next=Next("apps.list"),
            )
        self._require_free(found.root)
        self._require_visible(found)
        return found

    def _require_free(self, folder: Path) -> None:
        """Refuse a folder that is an app's, the platform's or the system's."""
        root = Path(os.path.realpath(self._apps.root))
        is_app = folder == root or (root in folder.parents and folder.relative_to(root).parts[0] != COPIES)
        homes = [Path(os.path.realpath(item)) for item in self._platform]
        is_home = any(folder == home or home in folder.parents or folder in home.parents for home in homes)
        if is_app or is_home or str(folder) in _NO_FOLDERS or folder.parts[1:2] in (("proc",), ("sys",), ("dev",)):
            raise NotImportable(
                f"{quote_name(folder)} is a folder of IKOMA's own, or of the system.",
                hint="Give the folder that holds the project alone.",
            )

    def _require_visible(self, project: ComposeProject) -> None:
        folder = Path(project.folder)
        if not project.folder or not folder.is_dir():
            place = self._apps.root / COPIES / project.name
            raise NotImportable(
                f"IKOMA does not see the folder {quote_name(project.folder)} of {project.name}.",
                hint=f"Copy it with `mkdir -p {place.parent}` and `cp -a {project.folder or 'FOLDER'} {place}`, then "
                f"give {place} as source.",
            )
        outside = [name for name in project.files if not Path(name).is_relative_to(folder)]
        if outside:
            raise NotImportable(
                f"{project.name} is made of {outside[0]}, which is not in its folder {project.folder}.",
                hint="Copy the file into the folder, and name its compose files there as COMPOSE_FILE in .env.",
            )


def list_file_troubles(project: ComposeProject, chosen: Sequence[str]) -> list[str]:
    """Tell where a project was started with other files than those that `docker compose` chooses in its folder."""
    folder = Path(project.folder)
    used = [os.path.relpath(name, folder) for name in project.files]
    told = []
    if used and used != list(chosen):
        told.append(
            f"It was started with {', '.join(used)}, and the folder's own choice is {', '.join(chosen)}: write "
            f"COMPOSE_FILE={':'.join(used)} into its .env."
        )
    others = [name for name in project.env_files if Path(name) != folder / ".env"]
    if others:
        told.append(f"It was started with --env-file {others[0]}: copy that to {folder / '.env'}.")
    return told


def _find_by_name(name: str, known: Sequence[ComposeProject]) -> ComposeProject:
    for project in known:
        if project.name == name:
            return project
    near = difflib.get_close_matches(name, [item.name for item in known], n=1)
    raise ProjectNotFound(f"There is no Compose project {quote_name(name[:80])}.", guess=near[0] if near else None)


def _find_by_folder(path: str, known: Sequence[ComposeProject]) -> ComposeProject:
    folder = Path(os.path.realpath(path))
    for project in known:
        if project.folder and Path(os.path.realpath(project.folder)) == folder:
            return project
    name = re.sub(r"[^a-z0-9_-]", "", folder.name.lower()).lstrip("_-") or "project"
    if not any((folder / item).is_file() for item in (*COMPOSE_NAMES, ".env")):
        raise ProjectNotFound(
            f"There is no compose file in {quote_name(str(folder)[:200])}.",
            hint="Where IKOMA runs in a container it sees the folders under APPS_ROOT alone: copy the project to "
            f"{COPIES}/{name} there, and give that folder.",
        )
    copied = next((item for item in known if item.name == name and folder.parent.name == COPIES), None)
    return ComposeProject(name, str(folder), (), (), copied.containers if copied else ())
