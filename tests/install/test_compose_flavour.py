"""install.sh as a person runs it, on a machine of 1 GB: installed, again, killed, taken off, brought back, purged."""

from __future__ import annotations

import os
import random
import re
import subprocess
import time

import pytest

from tests.install.machine import Machine
from tests.install.platform import (
    CONTAINERS,
    HOME,
    INSTALL,
    PURGE,
    VARIABLES,
    assert_well,
    install,
    keep_layers,
    kill_after,
    purge,
)
from tests.install.versions import (
    IN_SERVICE,
    WITH_MIGRATION,
    assert_left_whole,
    describe,
    load,
    make_version,
    upgrade,
    version_there,
)

KILLS = int(os.environ.get("IKOMA_INSTALL_KILLS", "2"))
MOST_SECONDS = 120
MOST_IDLE_MB = 250
pytestmark = pytest.mark.timeout(900)  # the first of them builds the image
KEPT = ("/srv/apps", HOME, "/var/lib/ikoma", "/var/backups/ikoma", "/var/log/ikoma")


def test_a_killed_first_installation_goes_on_and_tells_what_it_does(small: Machine) -> None:
    log = small.path("/var/log/ikoma/install.log")
    assert kill_after(small, random.uniform(0, 8), since=lambda: log.is_file() and log.stat().st_size) is None
    said = install(small)
    for words in ("Folders and users", "Settings", "Docker Engine", "IKOMA's image", "Containers", "First healthy"):
        assert re.search(rf"^✓ {words}.* (\d+\.\d s|there)$", said, re.MULTILINE), said
    ending = said.partition("\n\n✓")[2]
    assert re.search(r"IKOMA [\d.]+ is up after \d+\.\d s: http://127\.0\.0\.1:3000\n", ending)
    assert f"Its key:  {HOME}/api-key.txt" in ending
    assert len(re.findall(r"^    ikoma ", ending, re.MULTILINE)) == 3
    assert log.stat().st_mode & 0o777 == 0o600
    assert log.read_text().count("\n--- ") == 2, "both runs are in the log"
    assert "First healthy answer" in log.read_text()
    assert_well(small)


def test_its_next_commands_work_as_printed(small: Machine) -> None:
    ending = install(small).partition("Next:\n")[2]
    for command in ending.split("\n")[:3]:
        if "deploy" in command:
            small.do("sh", "-c", "cp /ikoma/examples/hello-node/src/* /srv/apps/hello/src/")
        small.do("bash", "-c", command.strip())
    assert "Hello" in small.do("curl", "-s", "http://hello.localhost/")


def test_again_it_changes_nothing(small: Machine) -> None:
    install(small)
    key = small.path(f"{HOME}/api-key.txt").read_text()
    before = small.do("docker", "inspect", "-f", "{{.Id}} {{.State.StartedAt}}", *CONTAINERS)
    settings = small.path(f"{HOME}/.env").read_text()
    install(small)
    assert small.do("docker", "inspect", "-f", "{{.Id}} {{.State.StartedAt}}", *CONTAINERS) == before
    assert small.path(f"{HOME}/.env").read_text() == settings
    assert small.path(f"{HOME}/api-key.txt").read_text() == key
    assert_well(small)


def test_two_at_once_do_not_get_into_each_others_way(small: Machine) -> None:
    first = subprocess.Popen(small.command(*INSTALL, **VARIABLES), stdout=subprocess.DEVNULL)
    second = small.run(*INSTALL, variables=VARIABLES)
    assert first.wait() == 0
    assert second.returncode == 0 or "Another install.sh is at work" in second.stdout
    assert_well(small)


def test_a_look_alone_and_an_unasked_question_change_nothing(small: Machine) -> None:
    install(small)
    before = small.do("find", HOME, "/etc", "/usr/local", "-newermt", "2000-01-01", "-printf", "%p %T@\n")
    assert "✓ Nothing is in the way" in small.do("/ikoma/install.sh", "--check")
    refused = small.run("/ikoma/install.sh")
    assert (refused.returncode, "add --yes" in refused.stdout) == (1, True)
    mistyped = small.run(*PURGE, input="another\n")
    assert (mistyped.returncode, "Nothing was changed" in mistyped.stdout) == (1, True)
    assert small.do("find", HOME, "/etc", "/usr/local", "-newermt", "2000-01-01", "-printf", "%p %T@\n") == before
    assert_well(small)


def test_the_idle_platform_is_small(small: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    install(small)
    small.do("docker", "restart", *CONTAINERS)  # what an earlier test made it fetch does not count
    install(small)
    used = {name: idle_mb(small, name) for name in CONTAINERS}
    with capsys.disabled():
        print(f"\nidle: {sum(used.values())} MB ({', '.join(f'{name} {size}' for name, size in used.items())})")
    assert sum(used.values()) <= MOST_IDLE_MB, used


def idle_mb(machine: Machine, container: str) -> int:
    """Return the memory of a container, without the files that the kernel keeps in spare memory."""
    said = machine.do("docker", "stats", "--no-stream", "--format", "{{.MemUsage}}", container)
    size, unit = re.match(r"([\d.]+)(\w+)", said).groups()  # type: ignore[union-attr]
    return round(float(size) * {"KiB": 1 / 1024, "MiB": 1, "GiB": 1024}[unit])


def test_an_upgrade_takes_over_or_goes_back_by_itself(small: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    install(small)
    before = describe(small)
    new = make_version(small, "9.0.0", WITH_MIGRATION)
    broken = make_version(small, "9.0.1", IN_SERVICE["it crashes after a while"])
    with load(small) as seen:
        failed = upgrade(small, "--to", broken)
        assert (failed.returncode, "serves again, after" in failed.stdout) == (1, True), failed.stdout
        assert_left_whole(small, before)
        done = upgrade(small, "--to", new, watch=1)
        assert (done.returncode, version_there(small)) == (0, "9.0.0"), done.stdout
        back = upgrade(small, "--back", watch=1)
        assert back.returncode == 0, back.stdout
    with capsys.disabled():
        print(f"\n{seen['asked']} requests, failed: {len(seen['failures'])}; away at most {seen['away']:.1f} s")
    assert (seen["failures"], seen["asked"] > 1000) == ([], True)
    assert_left_whole(small, before)


def test_taken_off_it_keeps_data_and_apps_and_comes_back_with_them(small: Machine) -> None:
    install(small)
    small.do("ikoma", "db-create", "hello")
    small.do("ikoma", "psql", "hello", "-c", "CREATE TABLE kept (n int); INSERT INTO kept VALUES (42)")
    key = small.path(f"{HOME}/api-key.txt").read_text()
    keep_layers(small)
    said = small.do("/ikoma/install.sh", "--uninstall", "--yes")
    for folder in KEPT:
        assert folder in said
        assert small.path(folder).is_dir()
    left = small.do("docker", "ps", "--format", "{{.Names}}").split()
    assert left
    assert not set(left) & set(CONTAINERS)
    assert not small.path("/usr/local/bin/ikoma").exists()
    assert "ikoma-postgres" in small.do("docker", "volume", "ls", "-q")
    small.do("/ikoma/install.sh", "--uninstall", "--yes")  # nothing is there, and it says the same
    install(small)
    assert small.path(f"{HOME}/api-key.txt").read_text() == key
    assert "42" in small.do("ikoma", "psql", "hello", "-tAc", "SELECT n FROM kept")
    assert "Hello" in small.do("curl", "-s", "http://hello.localhost/")


def test_purged_nothing_is_left_and_it_installs_in_time(small: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    install(small)
    purge(small)
    assert small.do("docker", "ps", "-aq") == ""
    assert small.do("docker", "volume", "ls", "-q") == ""
    assert [folder for folder in KEPT if small.path(folder).exists()] == []
    began = time.monotonic()
    install(small)
    seconds = time.monotonic() - began
    with capsys.disabled():
        print(f"\ninstalled with images present in {seconds:.1f} s")
    assert seconds <= MOST_SECONDS
    assert_well(small)


@pytest.mark.timeout(300 * KILLS + 300)
def test_killed_at_any_moment_and_run_again_it_ends_well(small: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    purge(small)
    began = time.monotonic()
    install(small)
    lasts = time.monotonic() - began
    for number in range(KILLS):
        purge(small)
        moment = random.uniform(0, lasts)
        ended = kill_after(small, moment)
        with capsys.disabled():
            print(f"\nkill {number + 1}: after {moment:.2f} s of {lasts:.1f} s{'' if ended is None else ', too late'}")
        install(small)
        assert_well(small)


def test_killed_while_it_is_taken_off_it_can_be_taken_off_again(small: Machine) -> None:
    install(small)
    kill_after(small, random.uniform(0.1, 4), ("/ikoma/install.sh", "--uninstall", "--yes"))
    small.do("/ikoma/install.sh", "--uninstall", "--yes")
    assert small.do("docker", "ps", "-q", "--filter", "name=^ikoma") == ""
    install(small)
    assert_well(small)
