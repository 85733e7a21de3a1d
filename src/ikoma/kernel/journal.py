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
from pathlib import Path
from typing import Any

import orjson
import psutil

from ikoma.errors import IdempotencyMismatch
from ikoma.kernel.state import connect

RUNNING, SUCCEEDED, FAILED, CANCELLED, INTERRUPTED = "running", "succeeded", "failed", "cancelled", "interrupted"

_KEEP = 5000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS operations (
    id TEXT PRIMARY KEY, capability TEXT NOT NULL, app TEXT, caller_id TEXT NOT NULL, caller TEXT NOT NULL,
    arguments TEXT NOT NULL, digest TEXT NOT NULL, idempotency_key TEXT, state TEXT NOT NULL, steps TEXT NOT NULL,
    result TEXT, failure TEXT, started_at TEXT NOT NULL, finished_at TEXT, process TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS operations_by_key ON operations (caller_id, idempotency_key)
    WHERE idempotency_key IS NOT NULL;
CREATE INDEX IF NOT EXISTS operations_by_time ON operations (started_at);
CREATE INDEX IF NOT EXISTS operations_running ON operations (app) WHERE state = 'running';
"""
_COLUMNS = (
    "id, capability, app, caller_id, caller, arguments, digest, idempotency_key, state, steps, result, failure, "
    "started_at, finished_at, process"
)


@dataclass(frozen=True, slots=True)
class Step:
    """A part of the work. `at` is when it began (RFC 3339, UTC); `fraction` how far it is (0..1), where known."""

    name: str
    at: str
    fraction: float | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of an operation. `arguments` are masked, `result` and `failure` are JSON without secrets."""

    id: str
    capability: str
    app: str | None
    caller_id: str
    caller: str
    arguments: dict[str, Any]
    digest: str
    idempotency_key: str | None
    state: str = RUNNING
    steps: tuple[Step, ...] = ()
    result: bytes | None = None
    failure: dict[str, Any] | None = None
    started_at: str = field(default_factory=lambda: now())
    finished_at: str | None = None
    process: str = field(default_factory=lambda: _ours())

    @property
    def is_ours(self) -> bool:
        """Whether this very process works on it."""
        return self.process == _ours()


class Journal:
    """The records in one SQLite file, which other processes may use at the same time."""

    def __init__(self, database: Path) -> None:
        self._connection = connect(database, _SCHEMA)
        # A power cut may take the last moments of a record; what a call may not lose is in the audit log.
        self._connection.execute("PRAGMA synchronous = NORMAL")

    def recover(self) -> Sequence[Record]:
        """Close the records of processes that are gone: their work was cut off, and a retry may do it again."""
        cut_off = [record for record in self._select("state = ?", (RUNNING,)) if not _is_alive(record.process)]
        for record in cut_off:
            self.end(replace(record, state=INTERRUPTED))
            self.release_key(record.id)
        self._connection.execute(
            "DELETE FROM operations WHERE state <> ? AND id NOT IN "
            "(SELECT id FROM operations ORDER BY started_at DESC LIMIT ?)",
            (RUNNING, _KEEP),
        )
        return cut_off

    def begin(self, record: Record) -> Record | None:
        """Write a new record; the earlier one of this caller with the same idempotency key where there is one."""
        values = (
            record.id,
            record.capability,
            record.app,
            record.caller_id,
            record.caller,
            orjson.dumps(record.arguments).decode(),
            record.digest,
            record.idempotency_key,
            record.state,
            "[]",
            None,
            None,
            record.started_at,
            None,
            record.process,
        )
        try:
            self._connection.execute(
                f"INSERT INTO operations ({_COLUMNS}) VALUES ({', '.join('?' * len(values))})",  # noqa: S608
                values,
            )
        except sqlite3.IntegrityError:
            if record.idempotency_key and (earlier := self.by_key(record.caller_id, record.idempotency_key)):
                return earlier
            raise IdempotencyMismatch(f"The request id {record.id} was used for another call.") from None
        return None

    def note(self, identity: str, steps: Sequence[Step]) -> None:
        """Write down how far an operation is."""
        self._connection.execute("UPDATE operations SET steps = ? WHERE id = ?", (_steps(steps), identity))

    def end(self, record: Record) -> None:
        """Write down how an operation ended."""
        self._connection.execute(
            "UPDATE operations SET state = ?, steps = ?, result = ?, failure = ?, finished_at = ? WHERE id = ?",
            (
                record.state,
                _steps(record.steps),
                None if record.result is None else record.result.decode(),
                None if record.failure is None else orjson.dumps(record.failure, default=str).decode(),
                record.finished_at or now(),
                record.id,
            ),
        )

    def forget_failures(self, of: Record) -> None:
        """Remove earlier records of the same work that failed: what is tried again and again is kept once."""
        self._connection.execute(
            "DELETE FROM operations WHERE capability = ? AND app IS ? AND caller_id = ? AND state = ? AND id <> ?",
            (of.capability, of.app, of.caller_id, FAILED, of.id),
        )

    def release_key(self, identity: str) -> None:
        """Let a retry with the same key do the work: this one never did."""
        self._connection.execute("UPDATE operations SET idempotency_key = NULL WHERE id = ?", (identity,))

    def find(self, identity: str) -> Record | None:
        return next(iter(self._select("id = ?", (identity,))), None)

    def by_key(self, caller_id: str, key: str) -> Record | None:
        return next(iter(self._select("caller_id = ? AND idempotency_key = ?", (caller_id, key))), None)

    def running(self, app: str) -> list[Record]:
        """The operations on an app that are at work, or wait for their turn, the oldest first."""
        found = self._select(f"app = ? AND state = '{RUNNING}'", (app,))  # in words: so it is found by its index
        return sorted(found, key=lambda record: record.started_at)

    def last(self, limit: int, app: str | None, wanted: Callable[[Record], bool]) -> list[Record]:
        """The newest operations that are wanted, newest first."""
        where, values = ("app = ?", (app,)) if app else ("TRUE", ())
        found: list[Record] = []
        for row in self._connection.execute(
            f"SELECT {_COLUMNS} FROM operations WHERE {where} ORDER BY started_at DESC, rowid DESC",  # noqa: S608
            values,
        ):
            record = _record(row)
            if wanted(record):
                found.append(record)
                if len(found) == limit:
                    break
        return found

    def close(self) -> None:
        self._connection.close()

    def _select(self, where: str, values: tuple[Any, ...]) -> list[Record]:
        rows = self._connection.execute(f"SELECT {_COLUMNS} FROM operations WHERE {where}", values)  # noqa: S608
        return [_record(row) for row in rows.fetchall()]


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _steps(steps: Sequence[Step]) -> str:
    return orjson.dumps([[step.name, step.at, step.fraction] for step in steps]).decode()


def _record(row: Sequence[Any]) -> Record:
    return Record(
        id=row[0],
        capability=row[1],
        app=row[2],
        caller_id=row[3],
        caller=row[4],
        arguments=orjson.loads(row[5]),
        digest=row[6],
        idempotency_key=row[7],
        state=row[8],
        steps=tuple(Step(*step) for step in orjson.loads(row[9])),
        result=None if row[10] is None else row[10].encode(),
        failure=None if row[11] is None else orjson.loads(row[11]),
        started_at=row[12],
        finished_at=row[13],
        process=row[14],
    )


def _ours() -> str:
    return _remembered(os.getpid())


@lru_cache(maxsize=1)
def _remembered(pid: int) -> str:
    """The name of this process, which stays; a child of it has another id."""
    return _process(pid)


def _process(pid: int) -> str:
    """Names a process so that a later one with the same id is told apart."""
    return f"{pid}@{psutil.Process(pid).create_time():.2f}"


def _is_alive(process: str) -> bool:
    try:
        return _process(int(process.partition("@")[0])) == process
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False
