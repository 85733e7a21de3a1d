"""The temporary folder of a run of the tests, in memory: half of the time went to disks that sync what nobody keeps.

The tests kill processes and never the machine, so that a sync to a disk proves nothing in them. The memory is that of a
mount of its own, which ends with the run. Another run at the same time shares it, and what a killed run has left goes
when the next one begins.

    TMPDIR=/var/tmp make test    keeps to the disk, as is done without root or with little memory
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psutil

PLACE = Path("/mnt/ikoma-tests")
LOCK = Path("/run/ikoma-tests.lock")
"""Held by all runs that use the place, and alone by one that mounts it or takes it away."""
MOST = 8 << 30
"""Bytes; a run of everything needs about a third of them."""
SPARE = 4 << 30
"""Bytes of memory that must be free besides."""


@contextmanager
def temporary_folder() -> Iterator[None]:
    """Have this process and its children make their temporary folders in memory."""
    if "TMPDIR" in os.environ or os.geteuid() != 0 or psutil.virtual_memory().available < MOST + SPARE:
        yield
        return
    with LOCK.open("w") as lock:
        if _is_alone(lock):
            _unmount()
            _mount()
        fcntl.flock(lock, fcntl.LOCK_SH)
        if PLACE.is_mount():
            os.environ["TMPDIR"] = tempfile.tempdir = str(PLACE)
        try:
            yield
        finally:
            os.environ.pop("TMPDIR", None)
            tempfile.tempdir = None
            if _is_alone(lock):
                _unmount()


def _is_alone(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _mount() -> None:
    """Mount it, where this machine allows that; else the run keeps to the disk."""
    PLACE.mkdir(parents=True, exist_ok=True)
    argv = ["mount", "-t", "tmpfs", "-o", f"size={MOST},mode=1777", "ikoma-tests", PLACE]
    subprocess.run(argv, capture_output=True, check=False)


def _unmount() -> None:
    """Take it away; what is in it goes once no process has it open."""
    while PLACE.is_mount():
        subprocess.run(["umount", "--lazy", PLACE], check=True)
