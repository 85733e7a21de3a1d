"""The head of the audit chain: which entry is the last, kept apart from the log so that a cut end shows.

The record has one fixed size and is written in place. `next` is set before a line is written and cleared after it, so
a crash in between leaves a state that can be told from tampering. Its lock is the lock of the whole log.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from ikoma.kernel.state.waiting import wait_for, wait_in_turn

NOTHING = "0" * 64
"""Stands for the hash of the entry before the very first one."""

_SIZE = 512


@dataclass(frozen=True, slots=True)
class Head:
    """`seq` and `hash` of the last entry; `next` is the hash of one that is just being written.

    `first_seq` and `first_prev` are what the oldest kept entry must have.
    """

    seq: int = 0
    hash: str = NOTHING
    next: str | None = None
    first_seq: int = 1
    first_prev: str = NOTHING

    def announce(self, line_hash: str) -> Head:
        return Head(self.seq, self.hash, line_hash, self.first_seq, self.first_prev)

    def advance(self, line_hash: str) -> Head:
        return Head(self.seq + 1, line_hash, None, self.first_seq, self.first_prev)


class HeadFile:
    """The file of the head. OSError where it cannot be made or written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._head: Head | None = None
        self._written = b"?"
        """What we wrote last: while the file says the same, it need not be understood again."""

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Nobody else, in any process, reads or writes head and log inside the block. Holds its thread up until then.

        TimeoutError, an OSError, where another process keeps the lock.
        """
        _check(wait_for(self.take))
        try:
            yield
        finally:
            self.release()

    @asynccontextmanager
    async def lock_in_turn(self) -> AsyncIterator[None]:
        """Like `lock`, but the event loop goes on meanwhile. The block itself must not wait for anything."""
        _check(await wait_in_turn(self.take))
        try:
            yield
        finally:
            self.release()

    def take(self) -> bool:
        """Take the lock where no other process has it; whether that was so."""
        try:
            fcntl.flock(self._open(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        if self._descriptor is not None:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def read(self) -> Head | None:
        """The head; None where there is none yet. ValueError where it is not one any more."""
        content = os.pread(self._open(), _SIZE, 0)
        if content == self._written:
            return self._head
        if not content:
            return None
        seq, line_hash, following, first_seq, first_prev = orjson.loads(content)
        return Head(int(seq), str(line_hash), following, int(first_seq), str(first_prev))

    def write(self, head: Head) -> None:
        values = [head.seq, head.hash, head.next, head.first_seq, head.first_prev]
        content = orjson.dumps(values).ljust(_SIZE - 1) + b"\n"
        os.pwrite(self._open(), content, 0)
        self._head, self._written = head, content

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> int:
        if self._descriptor is None:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return self._descriptor


def _check(taken: bool) -> None:
    if not taken:
        raise TimeoutError(errno.ETIMEDOUT, "another process keeps it locked")
