"""The journal of operations: each changing call's record in state.db, from its start to how it ended.

It outlives clients and servers. A record that says `running` while its process is gone is of a server that was
stopped or killed in the middle: the next start says so.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import orjson

from ikoma.errors import IdempotencyMismatch
from ikoma.kernel.state.store import JSON, Codec, Store, StoreTable
from ikoma.moments import format_moment
from ikoma.processes import identify

RUNNING, SUCCEEDED, FAILED, CANCELLED, INTERRUPTED = "running", "succeeded", "failed", "cancelled", "interrupted"

_KEEP = 5000
_BOOT = Path("/proc/sys/kernel/random/boot_id")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OperationStep:
    """A part of the work. `at` is when it began (RFC 3339, UTC); `fraction` how far it is (0..1), where known."""

    name: str
    at: str
    fraction: float | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """The record of an operation. `arguments` are masked, `result` and `failure` are JSON without secrets."""

    id: str
    capability: str
    app: str | None
    caller_id: str
    caller: str
    arguments: dict[str, Any]
    digest: str
    idempotency_key: str | None
    state: str = RUNNING
    steps: tuple[OperationStep, ...] = ()
    result: bytes | None = None
    failure: dict[str, Any] | None = None
    started_at: str = field(default_factory=lambda: make_stamp())
    finished_at: str | None = None
    process: str = field(default_factory=lambda: _name_own_process())

    @property
    def is_ours(self) -> bool:
        """Whether this very process works on it."""
        return self.process == _name_own_process()


STEPS = Codec(
    lambda steps: orjson.dumps([[step.name, step.at, step.fraction] for step in steps]).decode(),
    lambda text: tuple(OperationStep(*step) for step in orjson.loads(text)),
)
BYTES = Codec(bytes.decode, str.encode)
_CODECS = {"arguments": JSON, "steps": STEPS, "result": BYTES, "failure": JSON}


class Journal:
    """The records. What writes is called through `change` by a server."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._operations = StoreTable(store, "operations", Record, _CODECS)

    async def change(self, work: Callable[[], T]) -> T:
        """Do work that writes to the journal, once no other process writes.

        A power cut may take the last moments of a record; what a call may not lose is in the audit log.
        """
        return await self._store.change(work, durable=False)

    def change_now(self, work: Callable[[], object]) -> bool:
        """Do work that writes to the journal, unless another process writes; whether it was done."""
        return self._store.change_now(work, durable=False)

    def recover(self) -> Sequence[Record]:
        """Close the records of processes that are gone: their work was cut off, and a retry may do it again."""
        running = self._operations.select("state = ?", (RUNNING,))
        cut_off = [record for record in running if not _is_alive(record.process)]
        for record in cut_off:
            self.end(replace(record, state=INTERRUPTED))
            self.release_key(record.id)
        with self._store.transaction():
            self._store.execute(
                "DELETE FROM operations WHERE state <> ? AND id NOT IN "
                "(SELECT id FROM operations ORDER BY started_at DESC LIMIT ?)",
                (RUNNING, _KEEP),
            )
        return cut_off

    def begin(self, record: Record) -> Record | None:
        """Write a new record; the earlier one of this caller with the same idempotency key where there is one."""
        try:
            with self._store.transaction():
                self._operations.insert(record)
        except sqlite3.IntegrityError:
            if record.idempotency_key and (earlier := self.find_by_key(record.caller_id, record.idempotency_key)):
                return earlier
            raise IdempotencyMismatch(f"The request id {record.id} was used for another call.") from None
        return None

    def note(self, identity: str, steps: Sequence[OperationStep]) -> None:
        """Write down how far an operation is."""
        with self._store.transaction():
            self._store.execute("UPDATE operations SET steps = ? WHERE id = ?", (STEPS.write(steps), identity))

    def end(self, record: Record) -> None:
        """Write down how an operation ended."""
        with self._store.transaction():
            self._store.execute(
                "UPDATE operations SET state = ?, steps = ?, result = ?, failure = ?, finished_at = ? WHERE id = ?",
                (
                    record.state,
                    STEPS.write(record.steps),
                    None if record.result is None else BYTES.write(record.result),
                    None if record.failure is None else JSON.write(record.failure),
                    record.finished_at or make_stamp(),
                    record.id,
                ),
            )

    def forget_failures(self, of: Record) -> None:
        """Remove earlier records of the same work that failed: what is tried again and again is kept once."""
        with self._store.transaction():
            self._store.execute(
                "DELETE FROM operations WHERE capability = ? AND app IS ? AND caller_id = ? AND state = ? AND id <> ?",
                (of.capability, of.app, of.caller_id, FAILED, of.id),
            )

    def release_key(self, identity: str) -> None:
        """Let a retry with the same key do the work: this one never did."""
        with self._store.transaction():
            self._store.execute("UPDATE operations SET idempotency_key = NULL WHERE id = ?", (identity,))

    def find(self, identity: str) -> Record | None:
        return next(iter(self._operations.iterate("id = ?", (identity,))), None)

    def find_by_key(self, caller_id: str, key: str) -> Record | None:
        return next(iter(self._operations.iterate("caller_id = ? AND idempotency_key = ?", (caller_id, key))), None)

    def list_running(self, app: str) -> list[Record]:
        """The operations on an app that are at work, or wait for their turn, the oldest first."""
        found = self._operations.iterate(
            f"app = ? AND state = '{RUNNING}'", (app,)
        )  # in words: so it is found by its index
        return sorted(found, key=lambda record: record.started_at)

    def list_newest(self, limit: int, app: str | None, wanted: Callable[[Record], bool]) -> list[Record]:
        """The newest operations that are wanted, newest first."""
        where, values = ("app = ?", (app,)) if app else ("TRUE", ())
        newest = self._operations.iterate(f"{where} ORDER BY started_at DESC, rowid DESC", values)
        return list(islice(filter(wanted, newest), limit))


def make_stamp() -> str:
    return format_moment(datetime.now(UTC), "milliseconds")


def _name_own_process() -> str:
    return _remember_name(os.getpid())


@lru_cache(maxsize=1)
def _remember_name(pid: int) -> str:
    """The name of this process, which stays; a child of it has another id."""
    name = _name_process(pid)
    assert name is not None, "a process that asks for its own name is alive"
    return name


def _name_process(pid: int) -> str | None:
    """Names a live process so that a later one with the same id is told apart, also one of after a reboot.

    The time of day has no part in it: when the clock is set, every process would seem to be another one.
    """
    known = identify(pid)
    return known and f"{known} of {_BOOT.read_text().strip()}"


def _is_alive(process: str) -> bool:
    return _name_process(int(process.partition("@")[0])) == process
