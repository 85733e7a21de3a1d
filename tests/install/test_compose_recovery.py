"""A server of three containers burns down, and comes back on a new one by the commands that docs/recovery.md prints."""

from __future__ import annotations

import re

import pytest

from tests.install.machine import ROOT, Machine
from tests.install.platform import install, is_well, purge
from tests.support import eventually

pytestmark = pytest.mark.timeout(900)


def list_commands() -> list[str]:
    """List the commands of the page for three containers, without their remarks."""
    (block,) = re.findall(r"^```shell\n(.*?)^```", (ROOT / "docs/recovery.md").read_text(), re.MULTILINE | re.DOTALL)
    return [line.partition(" #")[0].strip() for line in block.splitlines()]


def type_all(machine: Machine) -> str:
    """Type the commands as root in one shell; what they print."""
    said = ""
    for command in list_commands():
        if command == "sudo ./install.sh":
            said += install(machine)
        elif not command.startswith("cd "):
            said += machine.do("bash", "-c", f"cd /opt/ikoma && {command.removeprefix('sudo ')}")
    return said


def test_burned_down_three_containers_come_back_by_the_commands_of_the_page(small: Machine) -> None:
    install(small)
    small.do("ikoma", "init", "phoenix")
    small.do("sh", "-c", "cp /ikoma/examples/hello-node/src/* /srv/apps/phoenix/src/")
    small.do("ikoma", "db-create", "phoenix")
    small.do("ikoma", "psql", "phoenix", "-c", "CREATE TABLE visits (n int); INSERT INTO visits VALUES (42)")
    small.do("ikoma", "deploy", "phoenix")
    small.do("ikoma", "backup-create", "phoenix")
    small.do("ikoma", "backup-create", "ikoma")
    key = small.path("/opt/ikoma/api-key.txt").read_text()
    small.do("sh", "-c", "mkdir -p /mnt/backups && cp -a /var/backups/ikoma/. /mnt/backups")
    purge(small)

    said = type_all(small)
    assert "phoenix" in said
    assert "Start the server: sudo docker compose -f /opt/ikoma/docker-compose.yml restart proxy ikoma\n" in said
    eventually(lambda: is_well(small), "the server that was answers, and all three containers are healthy", 180)
    assert small.path("/opt/ikoma/api-key.txt").read_text() == key
    assert "42" in small.do("ikoma", "psql", "phoenix", "-tAc", "SELECT n FROM visits")
    assert "Hello" in small.do("curl", "-s", "http://phoenix.localhost/")
    assert "✓" in small.do("ikoma", "audit", "verify")
    small.do("ikoma", "deploy", "phoenix")
    small.do("ikoma", "psql", "phoenix", "-c", "INSERT INTO visits VALUES (43)")
    small.do("rm", "-rf", "/mnt/backups")
