"""install.sh --embedded: a program under /opt/ikoma/versions with an environment of its own, and the systemd unit.

No systemd runs on the machine: the commands of the unit are run as they stand there, and systemd judges the unit in
tests/api/test_service_unit.py.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from tests.install.machine import ROOT, Machine
from tests.install.platform import HOME, kill_after, purge
from tests.install.versions import IN_SERVICE, JOURNAL, WITH_MIGRATION, make_program, upgrade, version_there

pytestmark = pytest.mark.timeout(900)  # the first of them builds the image
INSTALL = ("/ikoma/install.sh", "--embedded", "--yes")
SYSTEMCTL = """#!/bin/sh
# systemctl does with the unit's ExecStart what systemd would, but for starting it again when it fails
pid=$(cat /run/unit.pid 2>/dev/null)
is_up() { [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null && ! grep -q '^State:.Z' "/proc/$pid/status"; }
start() {
    rm -f /run/unit.pid
    setsid --fork sh -c 'echo $$ >/run/unit.pid; exec /opt/ikoma/current/.venv/bin/ikoma up' \\
        </dev/null >>/var/log/unit.log 2>&1 9>&-
    until [ -s /run/unit.pid ]; do sleep 0.05; done
}
stop() { ! is_up || { kill "$pid"; while is_up; do sleep 0.05; done; }; }
case "$*" in
daemon-reload | "enable ikoma") ;;
"-q is-active ikoma") is_up ;;
"start ikoma") is_up || start ;;
"stop ikoma" | "disable --now ikoma") stop ;;
"restart ikoma") stop; start ;;
"kill -s "*) kill -s "$3" "$pid" ;;
"show -p MainPID -p NRestarts ikoma") if is_up; then echo "$pid"; else echo 0; fi ;;
*) echo "not known here: $*" >&2; exit 1 ;;
esac
"""
UNIT = (ROOT / "deploy" / "ikoma.service").read_text()


@pytest.fixture(scope="module")
def bare(small: Machine) -> Machine:
    """The machine without what other tests have installed there."""
    small.put("/usr/local/bin/python3", f'#!/bin/sh\nexec {sys.base_prefix}/bin/python3 "$@"\n')
    purge(small)
    return small


@pytest.fixture
def installed(bare: Machine, capsys: pytest.CaptureFixture[str]) -> Iterator[Machine]:
    """Install it to run as the unit says."""
    bare.do(*INSTALL)
    for command in re.findall(r"^ExecStartPre=\+-?(.+)$", UNIT, re.MULTILINE):
        bare.run("sh", "-c", command)
    start = re.findall(r"^ExecStart=(.+)$", UNIT, re.MULTILINE)
    assert len(start) == 1
    with capsys.disabled():
        print(f"\nno systemd runs here: {start[0]} is started by hand")
    server = subprocess.Popen(bare.command(*start[0].split()), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 180
        while bare.run("curl", "-sf", "http://localhost:3000/health").returncode != 0:
            assert server.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield bare
    finally:
        psutil.Process(server.pid).children()[0].send_signal(signal.SIGINT)
        server.wait(timeout=180)


def test_killed_and_run_again_it_is_whole(bare: Machine) -> None:
    assert kill_after(bare, random.uniform(0.5, 8), INSTALL) is None
    said = bare.do(*INSTALL)
    assert "There is no systemd" in said
    assert f"{HOME}/current/.venv/bin/ikoma up" in said
    again = bare.do(*INSTALL)
    assert re.search(r"^✓ Program, .* there$", again, re.MULTILINE)
    versions = bare.do("ls", f"{HOME}/versions").split()
    assert len(versions) == 1
    assert bare.do("readlink", "-f", f"{HOME}/current").strip() == f"{HOME}/versions/{versions[0]}"
    assert bare.do("ikoma", "--version").split()[-1] == versions[0].rpartition("-")[0]


def test_it_works_with_postgresql_and_proxy_of_its_own(installed: Machine) -> None:
    key = installed.path(f"{HOME}/api-key.txt").read_text().strip()
    asked = ("curl", "-s", "http://localhost:3000/execute/platform.check", "-H", f"X-Api-Key: {key}", "-d", "{}")
    assert json.loads(installed.do(*asked))["result"]["healthy"] is True
    installed.do("ikoma", "init", "hello", "--template", "node")
    installed.do("sh", "-c", "cp /ikoma/examples/hello-node/src/* /srv/apps/hello/src/")
    installed.do("ikoma", "db-create", "hello")
    installed.do("ikoma", "deploy", "hello")
    assert "Hello" in installed.do("curl", "-s", "http://hello.localhost/")
    refused = installed.run("/ikoma/install.sh", "--uninstall", "--yes")
    assert (refused.returncode, "Stop `ikoma up`" in refused.stdout) == (1, True)
    other = installed.run("/ikoma/install.sh", "--check")
    assert (other.returncode, "An IKOMA of the other kind (embedded) is installed." in other.stdout) == (1, True)


def test_an_upgrade_takes_over_or_goes_back_by_itself(bare: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    bare.do("mkdir", "-p", "/run/systemd/system")
    bare.put("/usr/local/bin/systemctl", SYSTEMCTL)
    bare.put("/usr/local/bin/journalctl", "#!/bin/sh\ntail -n 10 /var/log/unit.log\n")
    try:
        bare.do(*INSTALL)
        former, postmaster = version_there(bare), "/var/lib/ikoma/postgres/data/postmaster.pid"
        databases = bare.path(postmaster).read_text().split()[0]
        new = make_program(bare, "9.0.0", WITH_MIGRATION)
        if "IKOMA_INSTALL_KILLS" in os.environ:  # long: make installs
            failed = upgrade(bare, "--to", make_program(bare, "9.0.1", IN_SERVICE["it crashes after a while"]))
            assert (failed.returncode, "serves again, after" in failed.stdout) == (1, True), failed.stdout
            assert version_there(bare) == former
        done = upgrade(bare, "--to", new, watch=1)
        assert (done.returncode, version_there(bare)) == (0, "9.0.0"), done.stdout
        back = upgrade(bare, "--back", watch=1)
        assert (back.returncode, version_there(bare)) == (0, former), back.stdout
        assert bare.path(postmaster).read_text().split()[0] == databases, "PostgreSQL was restarted"
        assert bare.do("ikoma", "check").startswith("✓")
        assert not bare.path(JOURNAL).exists()
    finally:
        with capsys.disabled():
            print(f"\nno systemd runs here: {SYSTEMCTL.splitlines()[1]}")
        bare.run("systemctl", "stop", "ikoma")
        bare.run("rm", "-rf", "/run/systemd", "/usr/local/bin/systemctl", "/usr/local/bin/journalctl")


def test_taken_off_it_keeps_data_and_purged_nothing(bare: Machine) -> None:
    bare.do("/ikoma/install.sh", "--uninstall", "--yes")
    assert bare.path("/var/lib/ikoma/postgres").is_dir()
    assert not bare.path("/usr/local/bin/ikoma").is_symlink()
    assert not bare.path(f"{HOME}/versions").exists()
    purge(bare)
    assert [place for place in (HOME, "/var/lib/ikoma", "/srv/apps") if bare.path(place).exists()] == []
