"""Things that an earlier run of the tests left in Docker when it was killed, and their removal.

Apps of tests have fixed names, so their containers would be in the way. A run that still goes on is recognised by
its server's socket and left alone.
"""

from __future__ import annotations

import fcntl
import json
import socket
import subprocess
import tempfile
from collections.abc import Collection
from functools import cache
from pathlib import Path

import psutil

from tests.in_memory import PLACE

OWNER = "tests.pid"
"""The file in a server's folder that says which process tests with it."""

_PLACES = (tempfile.gettempdir(), "/tmp", str(PLACE))
_FORMAT = (
    '{"project": {{json (.Label "com.docker.compose.project")}},'
    ' "folder": {{json (.Label "com.docker.compose.project.working_dir")}}}'
)


def remove_projects(projects: Collection[str]) -> None:
    """Remove all that Docker has of these Compose projects, and the images that were built for them."""
    if not projects:
        return
    label = '{{.Label "com.docker.compose.project"}}'
    for listing, removing in (
        (["ps", "-a", "--format", f"{{{{.ID}}}} {label}"], ["rm", "-f", "-v"]),
        (["network", "ls", "--format", f"{{{{.ID}}}} {label}"], ["network", "rm"]),
        (["volume", "ls", "--format", f"{{{{.Name}}}} {label}"], ["volume", "rm"]),
    ):
        listed = subprocess.check_output(["docker", *listing], text=True).splitlines()
        found = [item.split(" ")[0] for item in listed if item.partition(" ")[2] in projects]
        if found:
            subprocess.run(["docker", *removing, *found], check=True, capture_output=True)
    built = subprocess.check_output(["docker", "images", "--format", "{{.Repository}}:{{.Tag}}"], text=True).split()
    ours = [name for name in built if name.startswith("ikoma-app/") and name.split("/")[1] in projects]
    if ours:
        subprocess.run(["docker", "rmi", "-f", *ours], check=True, capture_output=True)


@cache
def remove_leftovers() -> list[str]:
    """Remove the Compose projects of dead test servers, once in a run of the tests; their names."""
    argv = ["docker", "ps", "-a", "--filter", "label=ikoma.app", "--format", _FORMAT]
    with open(__file__) as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # two workers that remove the same at once would be in each other's way
        listed = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
        dead = {item["project"] for item in map(json.loads, listed) if _is_dead(Path(item["folder"]))}
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
