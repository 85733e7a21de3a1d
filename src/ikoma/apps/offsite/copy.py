"""The record of one copy off this machine, and where it lies there.

    OWNER/NAME/00001.age …   parts: a tar file of the backup's files, cut, each piece encrypted by itself
    OWNER/NAME/copy.json     the record, signed by the server that sent it; written last: without it there is no copy

OWNER is an app, or `ikoma` for the server itself. The record is not encrypted: a server that cannot open its copies
still knows what it has there. It tells app, name, times and sizes, and nothing of what is inside.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

import orjson

from ikoma.apps.offsite.store import OffsiteStore
from ikoma.apps.signing import BackupKey, check_signature
from ikoma.errors import BackupDamaged, BackupForeign, OffsiteDamaged, OffsiteMissing

RECORD = "copy.json"
_OWNER = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_MOST_RECORD = 64 << 20


@dataclass(frozen=True, slots=True)
class CopyPart:
    """An encrypted piece: its bytes, and their SHA-256."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class OffsiteCopy:
    """The record of a copy. Moments are RFC 3339 in UTC."""

    owner: str
    """The app, or `ikoma` for the server itself."""
    name: str
    created_at: str
    """The time at which the backup was made."""
    sent_at: str
    """The time at which its last part was read back there and found as it was sent."""
    size: int
    """Bytes of the backup's files."""
    parts: tuple[CopyPart, ...]
    proven_at: str | None = None
    """The time at which a restore has proven the backup."""
    scheduled: bool = False
    """Whether a schedule made it: then it is let go of when it was kept long enough."""
    locked_until: str | None = None
    """Until when nobody can delete it."""
    key: str = field(default="", compare=False)
    """The public key of the server that signed it, in hexadecimal."""

    @property
    def folder(self) -> str:
        return f"{self.owner}/{self.name}/"

    @property
    def is_locked(self) -> bool:
        """Whether nobody can delete it yet."""
        return self.locked_until is not None and datetime.fromisoformat(self.locked_until) > datetime.now(UTC)

    def name_part(self, number: int) -> str:
        """The object's name of a part; the first is 1."""
        return f"{self.folder}{number:05d}.age"

    def encode(self, key: BackupKey) -> bytes:
        """The record as it is stored, signed."""
        told = asdict(self)
        del told["key"]
        public, signature = key.sign(orjson.dumps(told, option=orjson.OPT_SORT_KEYS))
        return orjson.dumps({"copy": told, "key": public, "signature": signature})


def list_copies(
    store: OffsiteStore, key: BackupKey | None, owners: Iterable[str] = ("",)
) -> tuple[list[OffsiteCopy], int]:
    """List the copies in a store, newest first, and how many records are not this server's or cannot be read.

    Args:
        key: by which this server signs; None takes every server's: `OffsiteCopy.key` tells whose.
        owners: whose; "" is everybody's.
    """
    found, left_out = [], 0
    for owner in owners:
        for item in store.list_objects(f"{owner}/" if owner else ""):
            match item.name.split("/"):
                case [whose, name, last] if last == RECORD:
                    try:
                        found.append(read_copy(store, whose, name, key))
                    except (OffsiteDamaged, OffsiteMissing, BackupForeign):
                        left_out += 1
    return sorted(found, key=lambda copy: copy.created_at, reverse=True), left_out


def read_copy(store: OffsiteStore, owner: str, name: str, key: BackupKey | None) -> OffsiteCopy:
    """Read the record of a copy.

    Raises:
        OffsiteMissing: there is none.
        OffsiteDamaged: it cannot be read, is not what was signed, or is another copy's.
        BackupForeign: another server signed it.
    """
    what = f"The copy of {name} off this machine"
    if not _OWNER.fullmatch(owner) or not _NAME.fullmatch(name):
        raise OffsiteMissing(f"There is no copy of {name!r} off this machine.")
    content = bytearray()
    for piece in store.read(f"{owner}/{name}/{RECORD}"):
        content += piece
        if len(content) > _MOST_RECORD:
            raise OffsiteDamaged(f"{what} has a record that is too long.")
    try:
        stored = orjson.loads(content)
        told, public, signature = stored["copy"], stored["key"], stored["signature"]
        signed = orjson.dumps(told, option=orjson.OPT_SORT_KEYS)
        if key is None:
            check_signature(signed, public, signature, what)
        else:
            key.check(signed, public, signature, what)
        copy = _parse(told, public)
    except (ValueError, TypeError, KeyError, BackupDamaged) as error:
        raise OffsiteDamaged(f"{what} has a record that is not what was signed, or cannot be read.") from error
    if (copy.owner, copy.name) != (owner, name):
        raise OffsiteDamaged(f"{what} has the record of {copy.owner}/{copy.name}.")
    return copy


def delete_copy(store: OffsiteStore, copy: OffsiteCopy) -> None:
    """Delete a copy, its record first: what is left of a deletion that was cut off is no copy."""
    store.delete(f"{copy.folder}{RECORD}")
    for item in list(store.list_objects(copy.folder)):
        store.delete(item.name)


def _parse(told: Mapping[str, Any], public: str) -> OffsiteCopy:
    known = {item.name for item in fields(OffsiteCopy)}  # a later version may say more
    values = {name: value for name, value in told.items() if name in known}
    parts = tuple(CopyPart(int(item["size"]), str(item["sha256"])) for item in told["parts"])
    return OffsiteCopy(**{**values, "parts": parts, "key": public})
