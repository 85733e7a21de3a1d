"""A test of a part alone gets neither Docker nor Compose nor a server, unless it is marked `engine`."""

from __future__ import annotations

import socket
import subprocess

import pytest

from tests.unit.conftest import SOCKETS


@pytest.mark.parametrize("before", [[], ["setpriv", "--pdeathsig", "KILL"]], ids=["alone", "behind another"])
def test_a_program_of_an_engine_is_refused(before: list[str], refused: list[str]) -> None:
    with pytest.raises(PermissionError, match="engine"):
        subprocess.run([*before, "/somewhere/docker-compose", "version"], check=False)
    assert refused == ["/somewhere/docker-compose"]
    refused.clear()


@pytest.mark.parametrize("path", sorted(SOCKETS - {""}))
def test_docker_cannot_be_reached(path: str, refused: list[str]) -> None:
    with socket.socket(socket.AF_UNIX) as connection, pytest.raises(PermissionError, match="engine"):
        connection.connect(path)
    assert refused == [path]
    refused.clear()


@pytest.mark.engine
def test_with_the_mark_it_is_there() -> None:
    assert subprocess.run(["docker", "--version"], check=False, capture_output=True).returncode == 0
