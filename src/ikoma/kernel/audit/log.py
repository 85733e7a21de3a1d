"""The audit log: one compact JSON line for every call, refusals included.

A changing call's intent is on the disk before the call acts, and its result after; when the intent can't be
written the call is refused. Every entry has a number and the hash of the one before, so that what is changed, removed
or cut off later shows. Writers in several processes take turns under one lock.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ikoma.errors import AuditUnavailable
from ikoma.kernel.audit.entry import ERROR, GAP, LOST, AuditEntry
from ikoma.kernel.audit.files import (
    find_first_link,
    find_first_seq,
    hash_line,
    list_rotated,
    make_rotated_name,
    parse_entry,
    read_last_line,
    read_seq,
)
from ikoma.kernel.audit.head import NOTHING, Head, HeadFile
from ikoma.kernel.audit.lost_entries import LostEntries
from ikoma.kernel.audit.query import read_last
from ikoma.kernel.coalesce import Coalesced
from ikoma.kernel.state.waiting import runs_loop

log = logging.getLogger("ikoma.audit")


class AuditLog:
    """Appends entries to a file, each chained to the one before; a file that was rotated away is followed by a new one.

    Args:
        path: the log.
        head: the file that says which entry is the last.
        max_bytes: when the log is larger, it is rotated away.
        keep: how many rotated files are kept; 0 keeps all.
    """

    def __init__(self, path: Path, head: Path, *, max_bytes: int = 64 << 20, keep: int = 100) -> None:
        self._path = path
        self._head = HeadFile(head)
        self._max_bytes = max_bytes
        self._keep = keep
        self._descriptor: int | None = None
        self._file = (0, 0)
        self._seen = (-1, -1)
        """(size, seq) as we left them: while both are so, the end of the log is known to be ours."""
        self._synced = Coalesced(self._sync)
        self._lost = LostEntries()
        self._waiting: list[AuditEntry] = []
        self._together = Coalesced(self._append_waiting)
        self._later: asyncio.Future[None] | None = None

    def append(self, *entries: AuditEntry) -> None:
        """Write entries; raises AuditUnavailable where that fails. What is lost, the log says itself later.

        Waits for another process that writes, and holds its thread up: not for the event loop of a server.
        """
        left = list(entries)
        with self._note_lost(left), self._head.lock():
            self._append(left)

    async def append_in_turn(self, *entries: AuditEntry) -> None:
        """Like `append`, but the event loop goes on while another process writes."""
        left = list(entries)
        with self._note_lost(left):
            async with self._head.lock_in_turn():
                self._append(left)

    async def append_durably(self, entry: AuditEntry) -> None:
        """Write an entry and return when it is on the disk. Calls at the same time share one fsync."""
        await self.append_in_turn(entry)
        try:
            await self._synced.get()
        except OSError as error:
            raise AuditUnavailable(f"The audit log cannot be written ({error.strerror}).") from error

    def append_if_possible(self, *entries: AuditEntry) -> None:
        """Write entries of calls that have no say in it: reads, or changes that have happened.

        They are written now or, where another process writes, by the event loop as soon as it has ended.
        """
        self._waiting += entries
        try:
            free = self._head.take()
        except OSError:  # it cannot be opened: that is said with the entries that are lost by it
            free = False
        if free:
            try:
                self._write_waiting()
            finally:
                self._head.release()
        elif runs_loop():
            self._later = asyncio.ensure_future(self._together.get())
        else:
            self._write_the_rest()

    async def append_with_others(self, entry: AuditEntry) -> None:
        """Write an entry, if possible; returns when it is written. Calls at the same time share the work around it."""
        self._waiting.append(entry)
        await self._together.get()

    def read_last(
        self, limit: int, wanted: Callable[[dict[str, Any]], bool], since: str | None = None
    ) -> tuple[list[dict[str, Any]], int]:
        """Like `query.read_last`, of this log."""
        return read_last(self._path, limit, wanted, since)

    async def read_head(self) -> Head | None:
        """The last entry that is on the disk, for an anchor."""
        async with self._head.lock_in_turn():
            head = self._head.read()
        await self._synced.get()
        return head

    def close(self) -> None:
        if self._lost.count or self._waiting:
            self._write_the_rest()
        self._forget()
        self._head.close()

    @contextmanager
    def _note_lost(self, left: list[AuditEntry]) -> Iterator[None]:
        """Count what could not be written in the block, and say why."""
        try:
            yield
        except OSError as error:
            self._forget()
            for entry in left:
                self._lost.add(entry.kind)
            raise AuditUnavailable(f"The audit log cannot be written ({error.strerror or error}).") from error

    def _append(self, left: list[AuditEntry]) -> None:
        """Write the entries, with the lock held; each leaves `left` when it is written."""
        descriptor = self._open()
        head = self._continue(descriptor)
        if self._lost.count:
            head = self._say_lost(descriptor, head)
        head = self._write(descriptor, head, left)
        if self._seen[0] >= self._max_bytes:
            self._rotate(descriptor, head)

    def _continue(self, descriptor: int) -> Head:
        """The head, after seeing that the log ends as it says; where it does not, the log says so and goes on."""
        size = os.fstat(descriptor).st_size
        try:
            head = self._head.read()
        except (ValueError, TypeError):
            head = None
        if head is not None and head.next is None and self._seen == (size, head.seq):
            return head
        tail, end = read_last_line(descriptor, size)
        if head is not None:
            return self._mend(descriptor, head, tail, size, end)
        last = read_seq(parse_entry(tail) or {})
        if last is None:  # a new log, or one of a version without a chain
            if end != size:
                os.ftruncate(descriptor, end)
            before = hash_line(tail) if tail else NOTHING
            return Head(hash=before, first_prev=before)
        known = Head(last, hash_line(tail), None, *find_first_link((*list_rotated(self._path), self._path)))
        return self._say_gap(descriptor, known, "The head of the log was gone.")

    def _mend(self, descriptor: int, head: Head, tail: bytes, size: int, end: int) -> Head:
        found = hash_line(tail)
        if head.next is not None:  # a writer was killed, or the disk was full, between its two words to the head
            if end != size:
                os.ftruncate(descriptor, end)
            if tail and found == head.next:
                return head.advance(found)
            head = replace(head, next=None)
            size = end
        if size == 0 or (size == end and found == head.hash):  # rotated away, or as we left it
            return head
        return self._say_gap(descriptor, head, f"The log did not end with entry {head.seq} any more.")

    def _say_gap(self, descriptor: int, head: Head, what: str) -> Head:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            os.write(descriptor, b"\n")
        return self._write(descriptor, head, [AuditEntry("audit.gap", "audit.gap", result=ERROR, error=what, code=GAP)])

    def _say_lost(self, descriptor: int, head: Head) -> Head:
        lost = self._lost
        what = f"{lost.count} entries could not be written from {lost.since} to {lost.until}."
        entry = AuditEntry("audit.lost", "audit.lost", arguments=lost.describe(), result=ERROR, error=what, code=LOST)
        head = self._write(descriptor, head, [entry])
        self._lost = LostEntries()
        return head

    def _write(self, descriptor: int, head: Head, left: list[AuditEntry]) -> Head:
        """Write the entries, each of which leaves `left` when it is written."""
        size = os.fstat(descriptor).st_size
        while left:
            line = left[0].encode_line(head.seq + 1, head.hash)
            following = hash_line(line[:-1])
            self._head.write(head.announce(following))
            written = os.write(descriptor, line)
            if written != len(line):
                os.ftruncate(descriptor, size)
                raise OSError("the disk took only a part of the entry")
            head, size = head.advance(following), size + written
            del left[0]
        self._head.write(head)
        self._seen = (size, head.seq)
        return head

    def _rotate(self, descriptor: int, head: Head) -> None:
        """Put the full file away, and remove the oldest where there are too many."""
        os.fdatasync(descriptor)
        self._path.rename(make_rotated_name(self._path, find_first_seq(self._path)))
        self._forget()
        files = list_rotated(self._path)
        doomed = files[: -self._keep] if self._keep else []
        if doomed:
            seq, prev = find_first_link(files[len(doomed) :])
            self._head.write(replace(head, first_seq=seq, first_prev=prev))
            for path in doomed:
                path.unlink(missing_ok=True)

    def _open(self) -> int:
        if self._descriptor is not None:
            try:
                there = os.stat(self._path)
                if self._file == (there.st_dev, there.st_ino):
                    return self._descriptor
            except FileNotFoundError:
                pass
            self._forget()
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o600)
        opened = os.fstat(descriptor)
        self._descriptor, self._file, self._seen = descriptor, (opened.st_dev, opened.st_ino), (-1, -1)
        return descriptor

    async def _append_waiting(self) -> None:
        with self._log_lost():
            if self._waiting:  # else others have written them
                async with self._head.lock_in_turn():
                    self._append(self._waiting)

    def _write_waiting(self) -> None:
        """Write what waits, with the lock held."""
        with self._log_lost():
            self._append(self._waiting)

    def _write_the_rest(self) -> None:
        """Write what waits, where no event loop will."""
        with self._log_lost(), self._head.lock():
            self._append(self._waiting)

    @contextmanager
    def _log_lost(self) -> Iterator[None]:
        """Count the waiting entries that could not be written in the block, and say so in the server's log."""
        try:
            with self._note_lost(self._waiting):
                yield
        except AuditUnavailable as error:
            lost, self._waiting = self._waiting, []
            for entry in lost:
                log.error("audit entry lost: %s %s: %s", entry.capability, entry.request_id, error.message)

    async def _sync(self) -> None:
        if self._descriptor is not None:
            await asyncio.to_thread(os.fdatasync, self._descriptor)

    def _forget(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
