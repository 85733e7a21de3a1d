"""`ikoma upgrade --postgres` in the platform compose flavour, by `make installs`: an older image, an app with rows."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ikoma.postgres.server.majors import read_bundled_major
from scripts.images import ensure
from tests.install.machine import Machine
from tests.install.platform import HOME, INSTALL, VARIABLES, is_well, purge
from tests.support import eventually

pytestmark = pytest.mark.timeout(1800)
FORMER = int(os.environ.get("IKOMA_FORMER_POSTGRES") or max(p.name for p in Path("/usr/lib/postgresql").glob("1[5-7]")))
"""The version comes from this machine's programs, or from the variable, where Docker has an image of it."""
NEW = read_bundled_major()
BROKEN = f"postgres:{NEW}-broken"
LOG = "/var/log/ikoma/install.log"


@pytest.fixture
def former(small: Machine) -> Machine:
    """A machine whose PostgreSQL is of an older version, with an app that has rows."""
    purge(small)
    image = f"postgres:{FORMER}"
    asyncio.run(ensure([image]))
    small.load([image])
    small.do(*INSTALL, variables={**VARIABLES, "POSTGRES_IMAGE": image})
    small.do("ikoma", "init", "hello", "--template", "node")
    small.do("sh", "-c", "cp /ikoma/examples/hello-node/src/* /srv/apps/hello/src/")
    small.do("ikoma", "db-create", "hello")
    small.do("ikoma", "deploy", "hello")  # without migrations: for those a dump is made, by programs of that version
    small.do("docker", "exec", "ikoma-postgres", "psql", "-U", "ikoma", "-d", "hello", "-c", _ROWS)
    return small


_ROWS = """SET ROLE hello; CREATE TABLE visits (id int PRIMARY KEY, at text);
INSERT INTO visits SELECT n, md5(n::text) FROM generate_series(1, 5000) AS n"""


def version(machine: Machine) -> int:
    return int(machine.do("docker", "exec", "ikoma-postgres", "psql", "-U", "ikoma", "-d", "hello", "-tAc", _VERSION))


_VERSION = "SELECT current_setting('server_version_num')::int / 10000"


def count(machine: Machine) -> str:
    return machine.do("ikoma", "query", "hello", "SELECT count(*), count(DISTINCT at) FROM visits")


def upgrade(machine: Machine, *options: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return machine.run("ikoma", "upgrade", "--postgres", "--yes", *options, **more)


def test_there_and_back_and_killed_in_between(former: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    rows = count(former)
    assert version(former) == FORMER
    said = former.do(*INSTALL, variables=VARIABLES)  # as another version of IKOMA would, whose image is the newer one
    assert "ikoma upgrade --postgres" in said
    assert (version(former), count(former)) == (FORMER, rows)
    assert f"from {FORMER} to {NEW}" in former.do("ikoma", "upgrade", "--postgres", "--check")

    build = f"FROM postgres:{NEW}\nENTRYPOINT ['sh', '-c', 'echo it does not start; exit 3']\n".replace("'", '"')
    former.do("docker", "build", "-q", "-t", BROKEN, "-", input=build)
    done = upgrade(former, variables={"POSTGRES_IMAGE": BROKEN})
    assert (done.returncode, "it does not start" in done.stdout) == (1, True), done.stdout
    assert f"PostgreSQL {FORMER} was started" in done.stdout
    assert (version(former), count(former)) == (FORMER, rows)
    assert upgrade(former, "--back").returncode == 1, "there is no other data"

    for ended in (True, False):
        argv = former.command("ikoma", "upgrade", "--postgres", "--yes")
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        journal = former.path(f"{HOME}/postgres-upgrade.json")
        eventually(journal.exists, "it is under way", 300)
        with suppress(subprocess.TimeoutExpired):
            process.wait(1 if ended else random.uniform(5, 15))
        with suppress(ProcessLookupError):  # it may be through
            os.killpg(process.pid, signal.SIGTERM if ended else signal.SIGKILL)
        process.communicate()
        done = former.run("ikoma", "upgrade")
        assert not journal.exists(), done.stdout
        assert count(former) == rows
        if version(former) == NEW:
            assert upgrade(former, "--back").returncode == 0

    done = upgrade(former)
    assert done.returncode == 0, done.stdout + former.path(LOG).read_text()[-4000:]
    with capsys.disabled():
        print("\n" + done.stdout)
    assert (version(former), count(former)) == (NEW, rows)
    eventually(lambda: is_well(former), "all three are healthy", 300)
    assert "nothing to do" in upgrade(former).stdout

    done = upgrade(former, "--back")
    assert done.returncode == 0, done.stdout
    assert (version(former), count(former)) == (FORMER, rows)
    assert upgrade(former).returncode == 0
    assert (version(former), count(former)) == (NEW, rows)
    assert upgrade(former, "--forget").returncode == 0
    assert (version(former), count(former)) == (NEW, rows)
    former.do(*INSTALL, variables=VARIABLES)
    assert (version(former), count(former)) == (NEW, rows)
