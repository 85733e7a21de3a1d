"""install.sh on a system just made, with nothing but what Debian or Ubuntu itself begins with; run by `make installs`.

    python -m tests.install.fresh [SUITE] [FOLDER]        SUITE: bookworm, trixie, jammy, noble
    python -m tests.install.fresh --get [SUITE] [FOLDER]  only get what it needs

It needs root, `debootstrap`, the system's servers and the package index: from them come the system, the packages that
install.sh will ask for, and wheels (the machine itself has no network). What was got is kept in FOLDER.
"""

from __future__ import annotations

import asyncio
import filecmp
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from scripts.bundle import fetch_wheels, make_bundle
from scripts.images import ensure
from tests.install.machine import ROOT, Machine, machine, memory_limit
from tests.install.platform import HOME, assert_well

BEGINS_WITH = "ca-certificates,curl,iproute2"
PACKAGES = ("docker.io", "docker-cli", "docker-buildx", "iptables", "python3-venv")
"""Packages that install.sh will ask for, where the release has them."""
MEMORY_MB = 1024
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
"""That of IKOMA's image, where the image is a stand-in made of this machine."""


@dataclass(frozen=True)
class System:
    python: str
    is_ubuntu: bool = False
    components: str = "main"
    packages: tuple[str, ...] = ()


SYSTEMS = {
    "bookworm": System("3.11"),
    "trixie": System("3.13"),
    "jammy": System("3.11", True, "main,universe", ("python3.11-venv",)),
    "noble": System("3.12", True, "main,universe"),
}


def main(suite: str = "bookworm", place: str = "/var/tmp/ikoma-fresh", *, only_get: bool = False) -> None:
    if shutil.which("debootstrap") is None:
        raise SystemExit("✗ debootstrap is missing: apt-get install debootstrap")
    system = make_system(suite, Path(place))
    pythons = tuple(sorted({PYTHON, SYSTEMS[suite].python}))
    wheels = get_wheels(Path(place), pythons)
    if only_get:
        return
    asyncio.run(ensure(["python:3.13", "postgres:18"]))
    with tempfile.TemporaryDirectory() as folder, memory_limit(MEMORY_MB) as (before, parent):
        root = Path(folder)
        with machine(root, system, before) as fresh:
            unpack_bundle(root, wheels, pythons)
            fresh.do("mkdir", "-p", "/etc/docker")
            fresh.do("tee", "/etc/docker/daemon.json", input=f'{{"cgroup-parent": "{parent}"}}')
            assert fresh.run("which", "docker").returncode != 0
            try_compose(fresh)
            try_embedded(fresh)
    tell(f"all is well on {suite}")


def make_system(suite: str, place: Path) -> Path:
    """The root of a new system, with packages that lie ready and are not installed."""
    system, ready, about = place / suite, place / f"{suite}.ready", SYSTEMS[suite]
    if not ready.exists():
        tell(f"debootstrap {suite}")
        shutil.rmtree(system, ignore_errors=True)
        place.mkdir(parents=True, exist_ok=True)
        how = ["--variant=minbase", f"--include={BEGINS_WITH}", f"--components={about.components}"]
        # An older debootstrap does not know Ubuntu's newest: those are made as all since `gutsy`.
        where = [find_ubuntu(), "gutsy"] if about.is_ubuntu else []
        made = ["debootstrap", *how, suite, str(system), *where]
        subprocess.run(made, check=True, stdout=subprocess.DEVNULL)
        if about.is_ubuntu:  # 22.04 has Python 3.11 only there
            with (system / "etc/apt/sources.list").open("a") as sources:
                sources.write(f"deb {find_ubuntu()} {suite}-updates {about.components.replace(',', ' ')}\n")
        inside = ["chroot", str(system), "apt-get", "-q", "-y", "--no-install-recommends"]
        subprocess.run([*inside, "update"], check=True, stdout=subprocess.DEVNULL)
        known = ["chroot", str(system), "apt-cache", "madison"]
        there = [name for name in (*PACKAGES, *about.packages) if subprocess.check_output([*known, name])]
        subprocess.run([*inside, "install", "--download-only", *there], check=True, stdout=subprocess.DEVNULL)
        ready.touch()
    return system


def find_ubuntu() -> str:
    """The address of Ubuntu's packages, which debootstrap does not know on Debian."""
    if (mirror := os.environ.get("UBUNTU_MIRROR")) is None:
        raise SystemExit("✗ Say where Ubuntu's packages are: UBUNTU_MIRROR=ADDRESS python -m tests.install.fresh noble")
    return mirror


def get_wheels(place: Path, pythons: tuple[str, ...]) -> Path:
    """The wheels of the lock files for these versions of Python, as a folder to find them in."""
    locked = b"".join((ROOT / f"requirements/{name}.txt").read_bytes() for name in ("run", "build"))
    wheels = place / f"wheels-{'-'.join(pythons)}-{hashlib.sha256(locked).hexdigest()[:8]}"
    if not wheels.exists():
        tell(f"wheels for Python {' and '.join(pythons)}")
        new = wheels.with_suffix(".new")
        shutil.rmtree(new, ignore_errors=True)
        fetch_wheels(new, pythons)
        new.rename(wheels)
    return wheels


def unpack_bundle(folder: Path, wheels: Path, pythons: tuple[str, ...]) -> None:
    os.environ |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "BASE_IMAGE": "python:3.13"}
    tell("the bundle, twice")
    other = make_anew(folder / "other", pythons)
    bundle = make_anew(folder / "bundle", pythons)
    assert filecmp.cmp(other, bundle, shallow=False), "two bundles of one checkout differ"
    other.unlink()
    subprocess.run(["tar", "-xf", bundle, "-C", folder / "ikoma", "--strip-components=1"], check=True)
    bundle.unlink()


def make_anew(folder: Path, pythons: tuple[str, ...]) -> Path:
    """A bundle whose image is built with no layer of an earlier one."""
    names = subprocess.check_output(["docker", "images", "--format", "{{.Repository}}:{{.Tag}}", "ikoma"], text=True)
    if names.split():
        subprocess.run(["docker", "rmi", *names.split()], check=True, stdout=subprocess.DEVNULL)
    return make_bundle(folder, pythons)


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
    words = [word for word in sys.argv[1:] if word != "--get"]
    main(*words, only_get="--get" in sys.argv)
