"""Refuse Docker, Compose and servers to every test of a part alone that is not marked `engine`."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
PROGRAMS = {"docker", "docker-compose", "dockerd", "ikoma", "postgres", "initdb", "pg_ctl", "caddy"}
SOCKETS = {"/var/run/docker.sock", "/run/docker.sock", os.environ.get("DOCKER_HOST", "").removeprefix("unix://")}


class _Guard:
    """Hear what Python is about to do. No test can get past such a hook; it stays to the end of the process."""

    def __init__(self) -> None:
        self.on = False
        self.refused: list[str] = []

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self.on:
            return
        found = ""
        if event == "subprocess.Popen":
            found = _started(arguments[1])
        elif event == "socket.connect" and arguments[1] in SOCKETS:
            found = str(arguments[1])
        if found:
            self.refused.append(found)
            raise PermissionError(f"{found}: only a test that is marked `engine` may use it")


def _started(argv: object) -> str:
    """A program of PROGRAMS in this command, behind `setpriv` perhaps; empty where there is none."""
    words = argv if isinstance(argv, (list, tuple)) else [argv]
    names = (os.fsdecode(word) for word in words if isinstance(word, (str, bytes, os.PathLike)))
    return next((name for name in names if Path(name).name in PROGRAMS and not Path(name).is_dir()), "")


_guard = _Guard()
sys.addaudithook(_guard)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Around the fixtures of whole files, too. Such a hook is called for the tests of other folders as well."""
    _guard.on = item.path.is_relative_to(FOLDER) and item.get_closest_marker("engine") is None
    try:
        return (yield)
    finally:
        _guard.on = False


@pytest.fixture(autouse=True)
def refused() -> Generator[list[str]]:
    """A test that is refused something fails, even where the code takes it for an engine that is away."""
    _guard.refused.clear()
    yield _guard.refused
    assert _guard.refused == []
