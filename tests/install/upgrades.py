"""`ikoma upgrade` whole, by `make installs`: under load there and back and there, and broken in many ways.

A shorter one is in test_compose_flavour.py.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess

import pytest

from tests.install.machine import Machine
from tests.install.platform import HOME, install
from tests.install.versions import (
    IN_SERVICE,
    IN_TRIAL,
    JOURNAL,
    PLACE,
    WITH_MIGRATION,
    assert_left_whole,
    describe,
    load,
    make_bundle,
    make_version,
    upgrade,
    version_there,
)
from tests.support import eventually

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def served(small: Machine) -> Machine:
    """A machine with an app that answers."""
    install(small)
    if small.run("curl", "-sf", "http://hello.localhost/").returncode != 0:
        small.do("ikoma", "init", "hello", "--template", "node")
        small.do("sh", "-c", "cp /ikoma/examples/hello-node/src/* /srv/apps/hello/src/")
        small.do("ikoma", "deploy", "hello")
    return small


def test_there_and_back_and_there_under_load_no_request_fails(
    served: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    before = describe(served)
    new = make_version(served, "9.0.0", WITH_MIGRATION)
    served.do("ikoma", "keys", "create", "kept", "--role", "observer")
    with load(served) as seen:
        for options, version in ((("--to", new), "9.0.0"), (("--back",), "0.1.0"), (("--to", new), "9.0.0")):
            done = upgrade(served, *options)
            assert done.returncode == 0, done.stdout
            assert version_there(served) == version
            assert "kept" in served.do("ikoma", "keys", "list")
    with capsys.disabled():
        print(f"\n{seen['asked']} requests, failed: {len(seen['failures'])}; away at most {seen['away']:.1f} s")
    assert seen["failures"] == []
    assert seen["asked"] > 1000
    assert upgrade(served, "--back").returncode == 0
    assert_left_whole(served, before)


@pytest.mark.parametrize("how", [*IN_TRIAL, *IN_SERVICE])
def test_with_a_version_that_is_broken_the_old_one_serves(
    served: Machine, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = describe(served)
    every = {**IN_TRIAL, **IN_SERVICE}
    new = make_version(served, f"9.1.{[*every].index(how)}", every[how])
    with load(served) as seen:
        done = upgrade(served, "--to", new, "--set", "TRASH_DAYS=9", "--set", "POSTGRES_PORT=5432")
    assert done.returncode == 1
    with capsys.disabled():
        print("\n" + "\n".join(line for line in done.stdout.splitlines() if line.startswith("•")))
    if how in IN_TRIAL:
        assert "did not get beyond its trial: nothing was changed" in done.stdout
        assert seen["away"] == 0
    else:
        assert "serves again, after" in done.stdout
    assert seen["failures"] == []
    assert_left_whole(served, before)


@pytest.mark.parametrize("step", ["trial", "switch", "watch"])
def test_killed_in_the_middle_the_next_call_brings_the_old_one_back(served: Machine, step: str) -> None:
    before = describe(served)
    new = make_version(served, "9.2.0", WITH_MIGRATION)
    argv = served.command("ikoma", "upgrade", "--to", new, "--yes")
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    journal = served.path(JOURNAL)
    eventually(lambda: journal.exists() and f'"{step}"' in journal.read_text(), f"the journal says {step}", 300)
    try:
        process.wait(random.uniform(0, 3))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    done = upgrade(served)
    assert done.returncode == 0, done.stdout
    assert_left_whole(served, before)


def test_with_a_full_disk_nothing_changes(served: Machine) -> None:
    before = describe(served)
    new = make_version(served, "9.3.0")
    used = int(served.do("du", "-sk", HOME).split()[0])
    served.do("sh", "-c", f"cp -a {HOME} /tmp/home && mount -t tmpfs -o size={used + 100}k none {HOME}")
    try:
        served.do("cp", "-a", "/tmp/home/.", HOME)
        done = upgrade(served, "--to", new)
    finally:
        served.do("umount", HOME)
        served.do("rm", "-rf", "/tmp/home")
    assert done.returncode == 1
    assert re.search("No space left|disk is full|disk_full", done.stdout), done.stdout
    assert_left_whole(served, before)


def test_what_is_no_whole_or_no_newer_version_is_refused(served: Machine) -> None:
    before = describe(served)
    bundle = make_bundle(served, make_version(served, "9.4.0"))
    served.do("sh", "-c", f"head -c 300000 {bundle} >{PLACE}/cut.tar")
    served.do("sh", "-c", f"cp {bundle} {PLACE}/other.tar && echo 0000 >{PLACE}/other.tar.sha256")
    for options, words in (
        (("--to", f"{PLACE}/cut.tar"), "is no whole bundle"),
        (("--to", f"{PLACE}/other.tar"), "is not what"),
        (("--to", make_version(served, "0.0.9")), "is older than"),
        (("--to", "9.9.9"), "UPGRADE_URL"),
        (("--to", "/nowhere.tar"), "no install.sh"),
    ):
        done = upgrade(served, *options)
        assert (done.returncode, words in done.stdout) == (1, True), done.stdout
    assert "takes the place of" in served.do("ikoma", "upgrade", "--to", bundle, "--check")
    assert_left_whole(served, before)
    done = upgrade(served, "--to", bundle)
    assert (done.returncode, version_there(served)) == (0, "9.4.0"), done.stdout
    assert upgrade(served, "--back").returncode == 0
    assert_left_whole(served, before)


def test_a_signed_bundle_brings_its_images_and_its_settings(served: Machine) -> None:
    before = describe(served)
    key, trusted = f"{PLACE}/key", f"{HOME}/trusted"
    bundle = make_bundle(served, make_version(served, "9.5.0"), images=True, key=key)
    unsigned = make_bundle(served, make_version(served, "9.5.1"))
    served.do("install", "-D", "-m", "644", f"{key}.pub", f"{trusted}/maker.pub")
    try:
        refused = upgrade(served, "--to", unsigned)
        assert (refused.returncode, "Nobody signed this bundle" in refused.stdout) == (1, True), refused.stdout
        assert_left_whole(served, before)
        done = upgrade(served, "--to", bundle, "--set", "TRASH_DAYS=9", watch=1)
        assert (done.returncode, version_there(served)) == (0, "9.5.0"), done.stdout
        assert f"It is signed by {trusted}/maker.pub, SHA256:" in done.stdout
        assert "✓ Images of the bundle" in done.stdout
        assert served.path(f"{HOME}/.env").read_text() == before[1] + "TRASH_DAYS=9\n"
        loaded = served.path(f"{PLACE}/9.5.0/images.txt").read_text()
        assert loaded in served.path("/var/log/ikoma/install.log").read_text(), "the log says which images came"
    finally:
        served.do("rm", "-r", trusted)
        served.do("sed", "-i", "/TRASH_DAYS/d", f"{HOME}/.env")
    assert upgrade(served, "--back", watch=1).returncode == 0
    assert_left_whole(served, before)


def test_a_look_says_whether_proxy_and_postgresql_are_others(served: Machine) -> None:
    before = describe(served)
    new = make_version(served, "9.6.0")
    same = served.do("ikoma", "upgrade", "--to", new, "--check")
    assert "• Its proxy and its PostgreSQL are those that run" in same
    served.do("sh", "-c", f"echo '# another' >>{new}/deploy/start-proxy")
    assert "• Another in it: proxy. What runs goes on" in served.do("ikoma", "upgrade", "--to", new, "--check")
    served.do(
        "sed", "-i", "s/max_slot_wal_keep_size=2GB/max_slot_wal_keep_size=3GB/", f"{new}/deploy/docker-compose.yml"
    )
    other = served.do("ikoma", "upgrade", "--to", new, "--check")
    assert re.search("Another in it: (postgres and proxy|proxy and postgres)[.]", other), other
    assert_left_whole(served, before)
