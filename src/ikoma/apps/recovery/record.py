"""The record of a recovery that is under way: whichever moment ends it, the next run goes on with the same backups."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

import orjson

from ikoma.durable import write_file
from ikoma.errors import RecoveryRefused, StartRefused

_FILE, _LOCK = "recovery.json", "recovery.lock"


class Phase(StrEnum):
    """The phase of a recovery."""

    ASIDE = "aside"
    """The state is here; what a new server had of its own is put aside."""
    PLACING = "placing"
    """The state is put in its place."""
    APPS = "apps"
    """The state is in its place; apps come back one after another."""


@dataclass(frozen=True, slots=True)
class RecoveryRecord:
    """A recovery.

    Args:
        source: the place that backups are taken from.
        state: the name of the backup of the server's state.
        made_at: the time when that was made, RFC 3339.
        key: the public key that signed it, in hexadecimal.
        backups: app → its backups, the one to be taken first.
        done: apps that are back → what is told of them.
    """

    source: str
    state: str
    made_at: str
    key: str
    backups: Mapping[str, tuple[str, ...]]
    phase: Phase = Phase.ASIDE
    done: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    id: str = field(default_factory=lambda: secrets.token_hex(12))


def read_record(folder: Path) -> RecoveryRecord | None:
    """Read the record of the recovery that is under way on a state; None where there is none.

    Raises:
        RecoveryRefused: nobody can read it.
    """
    try:
        told = orjson.loads((folder / _FILE).read_bytes())
        known = {item.name: told[item.name] for item in fields(RecoveryRecord)}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise RecoveryRefused(f"{folder / _FILE}, the record of a recovery, cannot be read.") from error
    backups = {app: tuple(names) for app, names in known["backups"].items()}
    return RecoveryRecord(**{**known, "phase": Phase(known["phase"]), "backups": backups})


def write_record(folder: Path, record: RecoveryRecord) -> None:
    write_file(folder / _FILE, orjson.dumps(asdict(record), option=orjson.OPT_INDENT_2), mode=0o600)


def end_record(folder: Path) -> None:
    (folder / _FILE).unlink(missing_ok=True)


def require_no_placing(folder: Path) -> None:
    """Refuse to start a server on a state that is only half in its place.

    Raises:
        StartRefused: a recovery was cut off meanwhile.
    """
    record = read_record(folder)
    if record is not None and record.phase is not Phase.APPS:
        raise StartRefused("A recovery was cut off before the server's state was in its place.", hint="ikoma recover")


@contextmanager
def hold_recovery(folder: Path) -> Iterator[None]:
    """For the block, nobody else recovers this state.

    Raises:
        RecoveryRefused: somebody does.
    """
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise RecoveryRefused("Another `ikoma recover` is at work here.", hint="Wait until it has ended.") from None
    finally:
        os.close(descriptor)
