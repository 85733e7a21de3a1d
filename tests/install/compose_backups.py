"""Backups in the platform compose flavour, by `make installs`: a server in a container that may do little makes them.

Its root is read-only, it has seven rights, and PostgreSQL is another container.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pyrage
import pytest

from tests.faults.test_bringing_back import KEEPS, WITH_DATA
from tests.images import busybox_image
from tests.install.machine import Machine
from tests.install.platform import HOME, install, is_well
from tests.support import eventually

pytestmark = pytest.mark.timeout(1800)
APP, ROWS, SSH_PORT = "vault", 500, 2022
COUNT = "SELECT count(*) AS n FROM t"
ELSEWHERE = "/srv/elsewhere"
"""The folder of the SFTP server: IKOMA's container does not see it."""


def add_settings(machine: Machine, **settings: str) -> None:
    """Add settings as a person does: to the file, and then a restart."""
    lines = "".join(f"{name}={value}\n" for name, value in settings.items())
    machine.do("sh", "-c", f"cat >>{HOME}/.env", input=lines)
    restart(machine)


def restart(machine: Machine) -> None:
    machine.do("docker", "restart", "ikoma")
    eventually(lambda: is_well(machine), "all three containers are healthy", 180)


@pytest.fixture(scope="module")
def vault(small: Machine) -> Iterator[Machine]:
    """A machine with an app that has rows and a volume; what settings it got is taken back."""
    install(small)
    settings = small.do("cat", f"{HOME}/.env")
    small.do("ikoma", "init", APP)
    compose = WITH_DATA.format(image=busybox_image(), command=KEEPS, health="/ok")
    small.do("sh", "-c", f"cat >/srv/apps/{APP}/docker-compose.yml", input=compose)
    small.do("sh", "-c", f"echo ok >/srv/apps/{APP}/src/ok")
    small.do("ikoma", "db-create", APP)
    put(small, f"CREATE TABLE t AS SELECT generate_series(1, {ROWS}) AS n")
    small.do("ikoma", "deploy", APP)
    yield small
    small.do("sh", "-c", f"cat >{HOME}/.env", input=settings)
    restart(small)


def put(machine: Machine, statements: str) -> None:
    machine.do("ikoma", "psql", APP, "-q", "-c", statements)


def count(machine: Machine) -> int:
    return int(machine.do("ikoma", "psql", APP, "-tAc", COUNT))


def ask(machine: Machine, *argv: str) -> Any:
    """Give a command's answer; its progress is among what the machine hands over."""
    said = machine.do("ikoma", *argv, "--json")
    return json.loads(said[said.index("{\n") :])


def test_a_whole_app_is_backed_up_proven_and_restored(vault: Machine) -> None:
    made = ask(vault, "backup-create", APP, f"{APP}-a.backup")["backups"][0]
    assert (made["proven"], sorted(made["holds"])) == (True, ["database", "folder", "volumes"])
    assert ask(vault, "backup-verify", APP, f"{APP}-a.backup")["backups"][0]["proven"]
    put(vault, "DELETE FROM t")
    container = vault.do("docker", "ps", "-q", "--filter", f"label=com.docker.compose.project={APP}").split()[0]
    vault.do("docker", "exec", container, "sh", "-c", "echo spoilt >/data/note")
    vault.do("ikoma", "restore", APP, "--backup-name", f"{APP}-a.backup", "--yes")
    assert count(vault) == ROWS
    container = vault.do("docker", "ps", "-q", "--filter", f"label=com.docker.compose.project={APP}").split()[0]
    assert vault.do("docker", "exec", container, "cat", "/data/note") == "first\n"


def test_a_dump_of_others_is_restored_in_a_sandbox(vault: Machine) -> None:
    vault.do("ikoma", "backup", APP, f"{APP}-own.sql")
    backups = "/var/backups/ikoma"
    vault.do("cp", "-a", f"{backups}/{APP}-own.sql", f"{backups}/{APP}-bare.sql")
    put(vault, "DELETE FROM t WHERE n > 10")
    refused = vault.run("ikoma", "db-restore", APP, f"{APP}-bare.sql", "--yes")
    assert (refused.returncode != 0, "foreign" in refused.stdout) == (True, True)
    vault.do("ikoma", "db-restore", APP, f"{APP}-bare.sql", "--foreign", "--yes")
    assert count(vault) == ROWS
    evil = (
        "--\n-- PostgreSQL database dump\n--\n\nDROP TABLE IF EXISTS t;\nCREATE TABLE t (n int);\n"
        "\\! touch /var/backups/ikoma/mark\n--\n-- PostgreSQL database dump complete\n--\n"
    )
    vault.do("sh", "-c", f"cat >{backups}/{APP}-evil.sql", input=evil)
    refused = vault.run("ikoma", "db-restore", APP, f"{APP}-evil.sql", "--foreign", "--yes")
    assert "backslash commands are restricted" in " ".join(refused.stdout.split()), refused.stdout
    assert not vault.path(f"{backups}/mark").exists()
    assert count(vault) == ROWS


def test_a_backup_leaves_the_machine_and_comes_back_with_its_key_alone(vault: Machine) -> None:
    identity = pyrage.x25519.Identity.generate()
    place = vault.path("/srv")
    _start_sftp(vault)
    add_settings(
        vault,
        OFFSITE_URL=f"sftp://root@127.0.0.1:{SSH_PORT}{ELSEWHERE}",
        OFFSITE_SSH_KEY=f"{HOME}/offsite_key",
        OFFSITE_AGE_RECIPIENTS=str(identity.to_public()),
    )
    names = (f"{APP}-far.backup", f"{APP}-far.sql.zst")
    assert ask(vault, "backup-create", APP, names[0])["message"].endswith("Its copy off this machine is verified.")
    assert ask(vault, "backup", APP, names[1])["offsiteVerifiedAt"]
    assert {path.parent.name for path in place.glob(f"elsewhere/{APP}/*/copy.json")} >= set(names)
    vault.do("sh", "-c", f"rm -r /var/backups/ikoma/{APP}-far.*")
    put(vault, "DELETE FROM t")
    refused = vault.run("ikoma", "db-restore", APP, names[0], "--yes")
    assert (refused.returncode != 0, "OFFSITE_AGE_IDENTITY_FILE" in refused.stdout) == (True, True)
    vault.do("sh", "-c", f"umask 077; cat >{HOME}/age.txt", input=f"{identity}\n")
    add_settings(vault, OFFSITE_AGE_IDENTITY_FILE=f"{HOME}/age.txt")
    for name in names:
        vault.do("ikoma", "db-restore", APP, name, "--yes")
        assert count(vault) == ROWS
        put(vault, "DELETE FROM t")
    vault.do("ikoma", "restore", APP, "--backup-name", names[0], "--yes")
    assert count(vault) == ROWS
    vault.do("rm", f"{HOME}/age.txt")


def _start_sftp(machine: Machine) -> None:
    """OpenSSH for one key, on the machine's own loopback."""
    home = "/srv/ssh"
    machine.do("mkdir", "-p", home, ELSEWHERE, "/run/sshd")
    for key in (f"{home}/host", f"{HOME}/offsite_key"):
        machine.do("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
    options = {
        "Port": SSH_PORT,
        "ListenAddress": "127.0.0.1",
        "HostKey": f"{home}/host",
        "AuthorizedKeysFile": f"{HOME}/offsite_key.pub",
        "StrictModes": "no",
        "UsePAM": "no",
        "Subsystem": "sftp internal-sftp",
    }
    argv = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    machine.do("/usr/sbin/sshd", "-f", "/dev/null", *argv)
    known = machine.do("cat", f"{home}/host.pub")
    machine.do("sh", "-c", f"cat >{HOME}/known_hosts", input=f"* {known}")


def test_the_database_goes_back_to_a_second(vault: Machine) -> None:
    add_settings(vault, POINT_IN_TIME="true")
    eventually(lambda: is_open(vault), "there is a base backup", 300)
    rows = count(vault)
    then = datetime.now(UTC).isoformat()
    put(vault, "DELETE FROM t")
    vault.do("ikoma", "db-restore", APP, "--time", then, "--yes")
    assert count(vault) == rows
    folder = "/var/lib/ikoma/postgres/recovered"
    assert vault.do("sh", "-c", f"ls -A {folder} 2>/dev/null || true") == ""


def is_open(machine: Machine) -> bool:
    window = ask(machine, "db-status", APP)["pointInTime"]
    return window["problem"] is None and window["since"] <= datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
