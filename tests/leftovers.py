"""Things that an earlier run of the tests left in Docker when it was killed, and their removal.

Apps of tests have fixed names, so their containers would be in the way. A run that still goes on is recognised by
its server's socket and left alone.
"""

from __future__ import annotations

import fcntl
import socket
import tempfile
from collections.abc import Collection
from functools import cache
from pathlib import Path

import psutil

from tests import docker_api
from tests.in_memory import PLACE

OWNER = "tests.pid"
"""The file in a server's folder that says which process tests with it."""

_PLACES = (tempfile.gettempdir(), "/tmp", str(PLACE))
_FOLDER = "com.docker.compose.project.working_dir"


def remove_projects(projects: Collection[str]) -> None:
    """Remove all that Docker has of these Compose projects, and the images that were built for them."""
    if not projects:
        return
    for item in docker_api.get("/containers/json", all="1"):
        if item["Labels"].get(docker_api.PROJECT) in projects:
            docker_api.remove("containers", item["Id"], force="1", v="1")
    for item in docker_api.get("/networks"):
        if item["Labels"].get(docker_api.PROJECT) in projects:
            docker_api.remove("networks", item["Id"])
    for item in docker_api.list_volumes():
        if (item["Labels"] or {}).get(docker_api.PROJECT) in projects:
            docker_api.remove("volumes", item["Name"])
    for tag in docker_api.list_images("ikoma-app/*/*"):
        if tag.split("/")[1] in projects:
            docker_api.remove("images", tag, force="1")


@cache
def remove_leftovers() -> list[str]:
    """Remove the Compose projects of dead test servers, once in a run of the tests; their names."""
    with open(__file__) as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # two workers that remove the same at once would be in each other's way
        listed = docker_api.get("/containers/json", all="1", filters={"label": ["ikoma.app"]})
        labels = [item["Labels"] for item in listed]
        dead = {label[docker_api.PROJECT] for label in labels if _is_dead(Path(label.get(_FOLDER, "")))}
        remove_projects(dead)
    return sorted(dead)


def _is_dead(app: Path) -> bool:
    """Whether an app's folder belongs to a test's server, APPS_ROOT and state side by side, that runs no more."""
    if not any(app.is_relative_to(place) for place in _PLACES) or "ikoma-" not in str(app):
        return False
    folder = app.parents[1]
    owner = next((parent / OWNER for parent in app.parents if (parent / OWNER).is_file()), None)
    if owner is not None and psutil.pid_exists(int(owner.read_text())):
        return False  # its server may be dead for a moment: some tests kill theirs
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(folder / "state" / "ikoma.sock"))
        except OSError:
            return True
    return False
