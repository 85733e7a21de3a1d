"""Steps of tests with the platform compose flavour on a machine, and how they see that it is well."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Sequence

from tests.install.machine import Machine
from tests.support import eventually

HOME = "/opt/ikoma"
CONTAINERS = ("ikoma", "ikoma-postgres", "ikoma-proxy")
VARIABLES = {"BASE_IMAGE": "python:3.13"}  # it has git and ssh, so that the build needs no package index
INSTALL = ("/ikoma/install.sh", "--yes")
PURGE = ("/ikoma/install.sh", "--uninstall", "--purge", "--yes")


def install(machine: Machine, *options: str) -> str:
    return machine.do(*INSTALL, *options, variables=VARIABLES)


def kill_after(
    machine: Machine, seconds: float, argv: Sequence[str] = INSTALL, *, since: Callable[[], object] = lambda: True
) -> int | None:
    """Start it, and kill it and all that it has started; None, or its exit code where it was done before.

    Args:
        since: what must hold before the seconds count.
    """
    process = subprocess.Popen(
        machine.command(*argv, **VARIABLES),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        eventually(lambda: process.poll() is not None or since(), "the installation is under way", 300)
        return process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def purge(machine: Machine) -> None:
    """Remove all that IKOMA is."""
    keep_layers(machine)
    machine.do(*PURGE, input="fresh\n")


def keep_layers(machine: Machine) -> None:
    """Keep those of IKOMA's image: building it anew is not what is tried after this."""
    if image := machine.do("docker", "images", "-q", "ikoma").split():
        machine.do("docker", "tag", image[0], "kept:1")


def is_well(machine: Machine) -> bool:
    """Whether all three containers are healthy, and the server says so."""
    states = machine.run("docker", "inspect", "-f", "{{.State.Health.Status}}", *CONTAINERS).stdout.split()
    answer = machine.run("curl", "-s", "http://localhost:3000/health").stdout
    return states == ["healthy"] * len(CONTAINERS) and '"healthy"' in answer


def assert_well(machine: Machine) -> None:
    """Assert the state that an installation ends on, however it got there."""
    states = machine.do("docker", "inspect", "-f", "{{.Name}} {{.State.Health.Status}}", *CONTAINERS).splitlines()
    assert states == [f"/{name} healthy" for name in CONTAINERS]
    assert json.loads(machine.do("curl", "-s", "http://localhost:3000/health"))["status"] == "healthy"
    lines = machine.path(f"{HOME}/.env").read_text().splitlines()
    names = [line.partition("=")[0] for line in lines]
    assert sorted(names) == ["API_KEY_HASH", "POSTGRES_PASSWORD", "POSTGRES_PORT"]
    for place in (".env", "api-key.txt"):
        assert machine.path(f"{HOME}/{place}").stat().st_mode & 0o777 == 0o600
    assert machine.do("find", HOME, "/usr/local", "/etc", "-name", "*.new") == "", "half of a file is left"
    assert machine.do("ikoma", "check").startswith("✓")
    seen = machine.do("docker", "exec", "ikoma", "ls", "/var/lib/docker/volumes")
    assert "ikoma-postgres" in seen, "an import sees the volumes"
