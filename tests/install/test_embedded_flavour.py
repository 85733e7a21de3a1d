"""install.sh --embedded: a program under /opt/ikoma/versions with an environment of its own, and the systemd unit.

No systemd runs on the machine: the commands of the unit are run as they stand there, and systemd judges the unit in
tests/api/test_service_unit.py.
"""

from __future__ import annotations

import json
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

pytestmark = pytest.mark.timeout(900)  # the first of them builds the image
INSTALL = ("/ikoma/install.sh", "--embedded", "--yes")
UNIT = (ROOT / "deploy" / "ikoma.service").read_text()


@pytest.fixture(scope="module")
def bare(small: Machine) -> Machine:
    """The machine without what other tests have installed there."""
    small.put("/usr/local/bin/python3", f'#!/bin/sh\nexec {sys.base_prefix}/bin/python3 "$@"\n')
    purge(small)
    return small


@pytest.fixture
def installed(bare: Machine, capsys: pytest.CaptureFixture[str]) -> Iterator[Machine]:
    """It runs as the unit says."""
    bare.do(*INSTALL)
    for command in re.findall(r"^ExecStartPre=\+-?(.+)$", UNIT, re.MULTILINE):
        bare.run("sh", "-c", command)
    start = re.findall(r"^ExecStart=(.+)$", UNIT, re.MULTILINE)
    assert len(start) == 1
    with capsys.disabled():
        print(f"\nno systemd runs here: {start[0]} is started by hand")
    server = subprocess.Popen(bare.command(*start[0].split()), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while bare.run("curl", "-sf", "http://localhost:3000/health").returncode != 0:
            assert server.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield bare
    finally:
        psutil.Process(server.pid).children()[0].send_signal(signal.SIGINT)
        server.wait(timeout=60)


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


def test_taken_off_it_keeps_data_and_purged_nothing(bare: Machine) -> None:
    bare.do("/ikoma/install.sh", "--uninstall", "--yes")
    assert bare.path("/var/lib/ikoma/postgres").is_dir()
    assert not bare.path("/usr/local/bin/ikoma").is_symlink()
    assert not bare.path(f"{HOME}/versions").exists()
    purge(bare)
    assert [place for place in (HOME, "/var/lib/ikoma", "/srv/apps") if bare.path(place).exists()] == []
