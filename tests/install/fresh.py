"""install.sh on a Debian just made, with nothing but what Debian itself begins with; run by `make installs`.

    python -m tests.install.fresh [SUITE] [FOLDER]

It needs root, `debootstrap`, and Debian's servers, from which it gets the system and the packages that install.sh will
ask for (the machine itself has no network). It needs `.venv/wheels` (scripts/setup wheels), and one Python version for
this environment and the Debian. What was got is kept in FOLDER for the next time.
"""

from __future__ import annotations

import asyncio
import filecmp
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from scripts.bundle import make_bundle
from scripts.images import ensure
from tests.install.machine import ROOT, Machine, machine, memory_limit
from tests.install.platform import HOME, assert_well

BEGINS_WITH = "ca-certificates,curl,iproute2"
PACKAGES = ("docker.io", "docker-cli", "docker-buildx", "iptables", "python3-venv")
"""Packages that install.sh will ask for, where the release has them."""
MEMORY_MB = 1024
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def main(suite: str = "bookworm", place: str = "/var/tmp/ikoma-fresh") -> None:
    if shutil.which("debootstrap") is None:
        raise SystemExit("✗ debootstrap is missing: apt-get install debootstrap")
    system = make_system(suite, Path(place))
    asyncio.run(ensure(["python:3.13", "postgres:18"]))
    with tempfile.TemporaryDirectory() as folder, memory_limit(MEMORY_MB) as (before, parent):
        root = Path(folder)
        with machine(root, system, before) as fresh:
            unpack_bundle(root)
            fresh.do("mkdir", "-p", "/etc/docker")
            fresh.do("tee", "/etc/docker/daemon.json", input=f'{{"cgroup-parent": "{parent}"}}')
            assert fresh.run("which", "docker").returncode != 0
            try_compose(fresh)
            try_embedded(fresh)
    tell(f"all is well on {suite}")


def make_system(suite: str, place: Path) -> Path:
    """The root of a new Debian, with packages that lie ready and are not installed."""
    system = place / suite
    ready = place / f"{suite}.ready"
    if not ready.exists():
        tell(f"debootstrap {suite}")
        shutil.rmtree(system, ignore_errors=True)
        place.mkdir(parents=True, exist_ok=True)
        made = ["debootstrap", "--variant=minbase", f"--include={BEGINS_WITH}", suite, str(system)]
        subprocess.run(made, check=True, stdout=subprocess.DEVNULL)
        inside = ["chroot", str(system), "apt-get", "-q", "-y", "--no-install-recommends"]
        subprocess.run([*inside, "update"], check=True, stdout=subprocess.DEVNULL)
        known = ["chroot", str(system), "apt-cache", "madison"]
        there = [name for name in PACKAGES if subprocess.check_output([*known, name])]
        subprocess.run([*inside, "install", "--download-only", *there], check=True, stdout=subprocess.DEVNULL)
        ready.touch()
    return system


def unpack_bundle(folder: Path) -> None:
    os.environ |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(ROOT / ".venv/wheels"), "BASE_IMAGE": "python:3.13"}
    tell("the bundle, twice")
    other = make_anew(folder / "other")
    bundle = make_anew(folder / "bundle")
    assert filecmp.cmp(other, bundle, shallow=False), "two bundles of one checkout differ"
    other.unlink()
    subprocess.run(["tar", "-xf", bundle, "-C", folder / "ikoma", "--strip-components=1"], check=True)
    bundle.unlink()


def make_anew(folder: Path) -> Path:
    """A bundle whose image is built with no layer of an earlier one."""
    names = subprocess.check_output(["docker", "images", "--format", "{{.Repository}}:{{.Tag}}", "ikoma"], text=True)
    if names.split():
        subprocess.run(["docker", "rmi", *names.split()], check=True, stdout=subprocess.DEVNULL)
    return make_bundle(folder, (PYTHON,))


def try_compose(fresh: Machine) -> None:
    began = time.monotonic()
    print(fresh.do("/ikoma/install.sh", "--yes"))
    assert_well(fresh)
    tell(f"three containers, Docker included, in {time.monotonic() - began:.1f} s with {MEMORY_MB} MB of memory")
    fresh.do("ikoma", "init", "hello")
    assert fresh.path("/srv/apps/hello/docker-compose.yml").exists()
    fresh.do("/ikoma/install.sh", "--uninstall", "--purge", "--yes", input="fresh\n")
    assert not fresh.path(HOME).exists()


def try_embedded(fresh: Machine) -> None:
    began = time.monotonic()
    print(fresh.do("/ikoma/install.sh", "--embedded", "--yes"))
    server = subprocess.Popen(fresh.command(f"{HOME}/current/.venv/bin/ikoma", "up"), stdout=subprocess.DEVNULL)
    while fresh.run("curl", "-sf", "http://localhost:3000/health").returncode != 0:
        assert server.poll() is None
        assert time.monotonic() - began < 600
        time.sleep(0.5)
    assert fresh.do("ikoma", "check").startswith("✓")
    tell(f"a program of its own in {time.monotonic() - began:.1f} s (no systemd here: started by hand)")


def tell(words: str) -> None:
    print(f"• {words}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
