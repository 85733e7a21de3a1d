"""What an earlier run of the tests left in Docker when it was killed, and its removal.

Apps of tests have fixed names, so their containers would be in the way. A run that still goes on is recognised by
its server's socket and left alone.
"""

from __future__ import annotations

import json
import socket
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import psutil

OWNER = "tests.pid"
"""The file in a server's folder that says which process tests with it."""

_FORMAT = (
    '{"project": {{json (.Label "com.docker.compose.project")}},'
    ' "folder": {{json (.Label "com.docker.compose.project.working_dir")}}}'
)


@cache
def remove_leftovers() -> list[str]:
    """Remove the Compose projects of dead test servers, once in a run of the tests; their names."""
    argv = ["docker", "ps", "-a", "--filter", "label=ikoma.app", "--format", _FORMAT]
    listed = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    dead = {item["project"] for item in map(json.loads, listed) if _is_dead(Path(item["folder"]))}
    for project in dead:
        label = f"label=com.docker.compose.project={project}"
        for listing, removing in (
            (["ps", "-aq"], ["rm", "-f", "-v"]),
            (["network", "ls", "-q"], ["network", "rm"]),
            (["volume", "ls", "-q"], ["volume", "rm"]),
        ):
            found = subprocess.check_output(["docker", *listing, "--filter", label], text=True).split()
            if found:
                subprocess.run(["docker", *removing, *found], check=True, capture_output=True)
    return sorted(dead)


def _is_dead(app: Path) -> bool:
    """Whether an app's folder belongs to a test's server, APPS_ROOT and state side by side, that runs no more."""
    if not app.is_relative_to(tempfile.gettempdir()) or "ikoma-" not in str(app):
        return False
    folder = app.parents[1]
    if (folder / OWNER).is_file() and psutil.pid_exists(int((folder / OWNER).read_text())):
        return False  # its server may be dead for a moment: some tests kill theirs
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(folder / "state" / "ikoma.sock"))
        except OSError:
            return True
    return False
