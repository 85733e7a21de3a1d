"""Processes that are not ours to wait for: whether one lives, and when it ends.

A long-lived server outlives the IKOMA that started it. The next one knows it by its pid and the moment it started,
because pids are given out again.
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress

import psutil


def is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def identify(pid: int) -> str | None:
    """Names a live process so that a later one with the same pid is told apart; None when there is none."""
    try:
        # Field 22 of stat, the ticks since the machine started: unlike a time of day it never shifts.
        with open(f"/proc/{pid}/stat") as stream:
            fields = stream.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return f"{pid}@{fields[19]}" if fields[0] != "Z" else None


async def wait_until_ended(pid: int) -> None:
    """Returns when the process has ended, whether or not it is our child."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    loop.add_reader(descriptor, gone.set)
    try:
        await gone.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


async def end_process(pid: int, how: signal.Signals, *, patience: float) -> None:
    """End a process, whether or not it is our child; one that is still there after so many seconds is killed."""
    with suppress(ProcessLookupError):
        os.kill(pid, how)
    try:
        async with asyncio.timeout(patience):
            await wait_until_ended(pid)
    except TimeoutError:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        await wait_until_ended(pid)
