"""The audit log: one compact JSON line for every call, refusals included.

A changing call's intent is on the disk before the call acts, and its result after; when the intent can't be
written the call is refused. Writers in several processes may share the file: each entry is one appending write.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from ikoma.errors import AuditUnavailable
from ikoma.kernel.coalesce import Coalesced

log = logging.getLogger("ikoma.audit")

STARTED, SUCCESS, ERROR = "started", "success", "error"


@dataclass(slots=True)
class Entry:
    """What one call leaves behind. `arguments` are already masked; `duration` is milliseconds."""

    request_id: str
    capability: str
    role: str | None = None
    caller: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    result: str = STARTED
    error: str | None = None
    code: str | None = None
    duration: float = 0.0

    def line(self) -> bytes:
        """The entry as one line of JSON."""
        fields = {
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "requestId": self.request_id,
            "capability": self.capability,
            "role": self.role,
            "caller": self.caller,
            "arguments": self.arguments,
            "result": self.result,
            "error": self.error,
            "code": self.code,
            "duration": round(self.duration, 3),
        }
        line = orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)
        # Beyond ASCII, readers differ in what ends a line and what moves the cursor: all of it is escaped.
        return line if line.isascii() else json.dumps(fields, separators=(",", ":")).encode() + b"\n"


class AuditLog:
    """Appends entries to a file, which is opened again when it was rotated away or could not be written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._file = (0, 0)
        self._line_is_open = False
        self._synced = Coalesced(self._sync)

    def append(self, entry: Entry) -> None:
        """Write an entry; raises AuditUnavailable where that fails."""
        line = entry.line()
        try:
            descriptor = self._open()
            if self._line_is_open:  # a full disk or a crash cut the last line: keep ours whole
                line = b"\n" + line
            written = os.write(descriptor, line)
            self._line_is_open = written != len(line)
            if self._line_is_open:
                _take_back(descriptor, written)
                raise OSError("the disk took only a part of the entry")
        except OSError as error:
            self._forget()
            raise AuditUnavailable(f"The audit log cannot be written ({error.strerror or error}).") from error

    async def append_durably(self, entry: Entry) -> None:
        """Write an entry and return when it is on the disk. Calls at the same time share one fsync."""
        self.append(entry)
        try:
            await self._synced.get()
        except OSError as error:
            raise AuditUnavailable(f"The audit log cannot be written ({error.strerror}).") from error

    def append_if_possible(self, entry: Entry) -> None:
        """Write an entry of a call that has no say in it: a read, or a change that has happened."""
        try:
            self.append(entry)
        except AuditUnavailable as error:
            log.error("audit entry lost: %s %s: %s", entry.capability, entry.request_id, error.message)

    def last(self, limit: int, wanted: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        """The last entries of this file that are wanted, oldest first. Reads the whole file: run it in a thread."""
        found: deque[dict[str, Any]] = deque(maxlen=limit)
        try:
            with self._path.open("rb") as stream:
                for line in stream:
                    try:
                        entry = orjson.loads(line)
                    except orjson.JSONDecodeError:
                        continue  # a line that a full disk cut short
                    if wanted(entry):
                        found.append(entry)
        except FileNotFoundError:
            return []
        return list(found)

    def close(self) -> None:
        self._forget()

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
        self._line_is_open = _ends_in_a_line(descriptor)
        self._descriptor, self._file = descriptor, (opened.st_dev, opened.st_ino)
        return descriptor

    async def _sync(self) -> None:
        if self._descriptor is not None:
            await asyncio.to_thread(os.fdatasync, self._descriptor)

    def _forget(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _ends_in_a_line(descriptor: int) -> bool:
    """Whether the last line was cut: another process that is just writing its own gets a moment to end it."""
    for pause in (0.001, 0.004, None):
        end = os.fstat(descriptor).st_size
        if end == 0 or os.pread(descriptor, 1, end - 1) == b"\n":
            return False
        if pause is not None:
            time.sleep(pause)
    return True


def _take_back(descriptor: int, written: int) -> None:
    """Remove the line that was cut, so that readers meet whole lines only; unless another has written after it."""
    end = os.lseek(descriptor, 0, os.SEEK_CUR)
    if os.fstat(descriptor).st_size == end:
        os.ftruncate(descriptor, end - written)
