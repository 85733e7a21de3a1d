"""One machine for the tests of the platform compose flavour, which take it on from each other."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.images import ensure
from tests.images import busybox_image
from tests.install.machine import ROOT, Machine, machine, memory_limit, put_checkout

IMAGES = ("python:3.13", "postgres:18", "node:22-alpine")
SMALL_MB = 1024


@pytest.fixture(scope="session")
def wheels() -> Path:
    """The wheels of the lock files for this environment's Python."""
    folder = ROOT / ".venv" / "wheels"
    assert folder.is_dir(), "The wheels are missing: run scripts/setup wheels"
    return folder


@pytest.fixture(scope="session")
def images() -> tuple[str, ...]:
    """Images that a machine with a registry would pull."""
    asyncio.run(ensure(IMAGES))
    return (*IMAGES, busybox_image())


@pytest.fixture(scope="session")
def small(wheels: Path, images: tuple[str, ...]) -> Iterator[Machine]:
    """A machine of 1 GB with Docker, images and a checkout; nothing is installed. On a disk: its memory is counted."""
    folder = Path(tempfile.mkdtemp(prefix="ikoma-machine-", dir="/var/tmp"))
    with memory_limit(SMALL_MB) as (before, parent), machine(folder, before=before) as made:
        put_checkout(folder / "ikoma", wheels)
        made.say_memory(SMALL_MB)
        made.start_docker(**{"cgroup-parent": parent})
        made.load(images)
        yield made
