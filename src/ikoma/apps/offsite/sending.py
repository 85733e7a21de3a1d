"""Sends a backup to a store: packed, cut into parts, each sealed, written there, read back and compared.

Two parts are under way at once, and no more is ever held. What has arrived is noted in a journal on this machine, so
that a sender which was killed goes on with the part that is missing. The copy exists once its record does, which is
written when all parts are there.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson

from ikoma.apps.offsite.copy import RECORD, CopyPart, OffsiteCopy, read_copy
from ikoma.apps.offsite.packing import PART_BYTES, cut, pack
from ikoma.apps.offsite.sealing import Seal
from ikoma.apps.offsite.store import OffsiteStore
from ikoma.apps.signing import BackupKey
from ikoma.checkpoints import checkpoint
from ikoma.errors import OffsiteDamaged, OffsiteMissing, OffsiteRefused, OffsiteUnreachable
from ikoma.moments import format_moment
from ikoma.ports.progress import Progress

_AT_ONCE = 2
_ATTEMPTS = 3
_PAUSE = 1.0


@dataclass(frozen=True, slots=True)
class Shipment:
    """A backup that is to be sent: whose, its name, and its files by the names that they have in the copy."""

    owner: str
    """The app, or `ikoma` for the server itself."""
    name: str
    created_at: str
    files: Mapping[str, Path]
    proven_at: str | None = None
    scheduled: bool = False


def send(
    store: OffsiteStore,
    seal: Seal,
    key: BackupKey,
    shipment: Shipment,
    journal: Path,
    progress: Progress,
    *,
    lock_days: int = 0,
) -> OffsiteCopy:
    """Send a backup, or the rest of it, and write its record.

    Args:
        journal: the file in which it is noted what has arrived; it is gone when all has.
        lock_days: for how many days the store locks what it is given.

    Raises:
        OffsiteUnreachable, OffsiteRefused: the store; what has arrived stays, for the next attempt.
        OffsiteDamaged: what is read back is not what was written.
        BackupDamaged: a file changed while it was read.
    """
    size = sum(path.stat().st_size for path in shipment.files.values())
    named = OffsiteCopy(shipment.owner, shipment.name, shipment.created_at, "", size, ())
    arrived = _Arrived(journal, shipment)
    there = {item.name: item.size for item in store.list_objects(named.folder)}
    parts: list[CopyPart] = []
    under_way: deque[Future[CopyPart]] = deque()

    def collect() -> None:
        parts.append(arrived.note(len(parts) + 1, under_way.popleft().result()))
        checkpoint("part sent")
        progress(f"send {shipment.name}", min(1.0, len(parts) * PART_BYTES / max(1, size)))

    with ThreadPoolExecutor(_AT_ONCE) as workers:
        for number, content in enumerate(cut(pack(shipment.files)), 1):
            name = named.name_part(number)
            part = arrived.find(number)
            if part is not None and there.get(name) == part.size:
                done: Future[CopyPart] = Future()
                done.set_result(part)
                under_way.append(done)
            else:
                under_way.append(workers.submit(_send_part, store, seal, name, content))
            del content
            while len(under_way) >= _AT_ONCE:
                collect()
        while under_way:
            collect()
    _forget_more(store, named, len(parts), there)
    now = datetime.now(UTC)
    copy = OffsiteCopy(
        shipment.owner,
        shipment.name,
        shipment.created_at,
        format_moment(now),
        size,
        tuple(parts),
        shipment.proven_at,
        shipment.scheduled,
        format_moment(now + timedelta(days=lock_days)) if lock_days else None,
    )
    checkpoint("parts sent")
    _put(store, f"{copy.folder}{RECORD}", copy.encode(key))
    read_copy(store, copy.owner, copy.name, key)
    checkpoint("copy sent")
    journal.unlink(missing_ok=True)
    return copy


def _send_part(store: OffsiteStore, seal: Seal, name: str, content: bytes) -> CopyPart:
    sealed = seal.close(content)
    del content
    return _put(store, name, sealed)


def _put(store: OffsiteStore, name: str, content: bytes) -> CopyPart:
    """Write an object and read it back, a few times where the store fails."""
    digest = hashlib.sha256(content).digest()
    part = CopyPart(len(content), digest.hex())
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            store.put(name, content, digest)
            if _is_equal(store.read(name), content):
                return part
            failure: Exception = OffsiteDamaged(f"What was sent as {name} is read back as something else.")
        except OffsiteRefused:
            raise
        except (OffsiteUnreachable, OffsiteMissing) as error:
            failure = error
        if attempt < _ATTEMPTS:
            time.sleep(_PAUSE * attempt)
    raise failure


def _is_equal(pieces: Iterator[bytes], content: bytes) -> bool:
    """Compare byte by byte, which takes less than a checksum."""
    size = 0
    for piece in pieces:
        if not content.startswith(piece, size):  # without a copy; a memoryview compares slowly, one by one
            return False
        size += len(piece)
    return size == len(content)


def _forget_more(store: OffsiteStore, copy: OffsiteCopy, parts: int, there: Mapping[str, int]) -> None:
    """Delete what an earlier attempt with more parts left, and nothing that is not named as a part is."""
    kept = {copy.name_part(number) for number in range(1, parts + 1)}
    for name in there:
        if name not in kept and name.endswith(".age"):
            store.delete(name)


class _Arrived:
    """The journal: a line for each part that is there. It counts for the same files alone, as they were then."""

    def __init__(self, file: Path, shipment: Shipment) -> None:
        self._file = file
        self._known: dict[int, CopyPart] = {}
        head = _describe_files(shipment)
        with suppress(FileNotFoundError):
            first, *lines = file.read_bytes().splitlines()
            if first == head:
                self._read(lines)
        if not self._known:
            file.write_bytes(head + b"\n")

    def find(self, number: int) -> CopyPart | None:
        """A part, where it has arrived."""
        return self._known.get(number)

    def note(self, number: int, part: CopyPart) -> CopyPart:
        if self._known.get(number) != part:
            line = orjson.dumps({"number": number, "size": part.size, "sha256": part.sha256})
            with self._file.open("ab") as stream:
                stream.write(line + b"\n")
        return part

    def _read(self, lines: list[bytes]) -> None:
        for line in lines:
            try:
                told = orjson.loads(line)
                self._known[told["number"]] = CopyPart(told["size"], told["sha256"])
            except (ValueError, KeyError, TypeError):
                return  # the line that a killed sender did not finish


def _describe_files(shipment: Shipment) -> bytes:
    """Name the files, with what shows that one was written since."""
    found = [(name, path.stat()) for name, path in sorted(shipment.files.items())]
    files = [(name, there.st_ino, there.st_size, there.st_mtime_ns) for name, there in found]
    return orjson.dumps([shipment.owner, shipment.name, shipment.created_at, files])
