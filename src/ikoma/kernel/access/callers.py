"""Callers: API keys, each with a highest role and a scope.

Keys are stored as SHA-256 and compared in constant time. The admin key is the API_KEY_HASH of the settings, read
again when the file changes; all others live in state.db, and a change made by any process counts at once.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from pathlib import Path

from ikoma.errors import DiskFull, InvalidArguments, Next, NotFound, Unauthenticated
from ikoma.kernel.access.caller import Caller
from ikoma.kernel.coalesce import Turn
from ikoma.kernel.redaction.redaction import KEY_PREFIX
from ikoma.kernel.state.store import FLAG, NAMES, Codec, Store, StoreTable
from ikoma.model import Role
from ikoma.moments import format_moment
from ikoma.settings import read_api_key_hash

ADMIN = "admin"
"""The id and name of the key of the settings."""

_NOTE_SECONDS = 60.0


@lru_cache(maxsize=8)
def _make_admin(digest: str) -> Caller:
    return Caller(id=ADMIN, name=ADMIN, role=Role.ADMIN, digest=digest)


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key as it is listed: everything but the key."""

    caller: Caller
    created_at: str
    revoked_at: str | None
    last_used_at: str | None
    """To the minute; None where it was never used."""
    previous_until: str | None
    """Until when the key before the last rotation is still taken."""


@dataclass(frozen=True, slots=True)
class _Row:
    """A key as the table holds it."""

    id: str
    name: str
    hash: str
    role: Role
    apps: tuple[str, ...]
    capabilities: tuple[str, ...]
    read_only: bool
    created_at: str
    expires_at: str | None = None
    revoked_at: str | None = None
    needs_approval: bool = False
    rate: int | None = None
    last_used_at: str | None = None
    previous_hash: str | None = None
    previous_until: str | None = None

    @property
    def caller(self) -> Caller:
        return Caller(
            id=self.id,
            name=self.name,
            role=self.role,
            apps=self.apps,
            capabilities=self.capabilities,
            read_only=self.read_only,
            expires_at=self.expires_at,
            needs_approval=self.needs_approval,
            rate=self.rate,
        )


_Taken = tuple[str, str | None, Caller]
"""(hash, until when it is taken, caller)."""

_CODECS = {
    "role": Codec(int, Role),
    "apps": NAMES,
    "capabilities": NAMES,
    "read_only": FLAG,
    "needs_approval": FLAG,
}


class Callers:
    """All keys that may call. What writes is called through `change` by a server.

    Args:
        store: where the keys are.
        env_file: the file whose last API_KEY_HASH is an admin key.
        api_key_hash: the admin key's hash from the environment, used where the file has none.
    """

    def __init__(self, store: Store, env_file: Path, api_key_hash: str | None) -> None:
        self._store = store
        self.change = store.change
        self._keys = StoreTable(store, "keys", _Row, _CODECS)
        self._env_file = env_file
        self._given_hash = api_key_hash
        self._env_stamp: tuple[int, int, int] | None = None
        self._admin_hash: str | None = None
        self._seen_version = -1
        self._active: list[_Taken] = []
        self._noted: dict[str, float] = {}
        self._turn = Turn()

    def authenticate(self, key: str | None) -> Caller:
        """The caller that this key belongs to.

        Raises:
            Unauthenticated: no key, an unknown, a revoked or an expired one. The answer does not say which.
        """
        if not key:
            raise Unauthenticated("No API key was given.")
        digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
        found: Caller | None = None
        for stored, until, caller in self._turn.share("keys", self, (), self._list_taken):
            if hmac.compare_digest(stored, digest) and (until is None or until > _format_now()):
                found = caller
        if found is None or (found.expires_at is not None and found.expires_at <= _format_now()):
            raise Unauthenticated("This API key is not valid.")
        if found.id != ADMIN:
            self._note_use(found.id)
        return found

    def create(
        self,
        name: str,
        role: Role,
        *,
        apps: Sequence[str] = (),
        capabilities: Sequence[str] = (),
        read_only: bool = False,
        expires_at: str | None = None,
        needs_approval: bool = False,
        rate: int | None = None,
    ) -> tuple[str, str]:
        """Make a key: (id, key). The key is shown this once; only its hash is kept."""
        identity, key = f"key_{secrets.token_hex(6)}", make_key()
        row = _Row(
            id=identity,
            name=name,
            hash=_hash_key(key),
            role=role,
            apps=tuple(apps),
            capabilities=tuple(capabilities),
            read_only=read_only,
            created_at=_format_now(),
            expires_at=expires_at,
            needs_approval=needs_approval,
            rate=rate,
        )
        with self._store.transaction():
            self._keys.insert(row)
        self._forget_seen()
        return identity, key

    def rotate(self, identity: str, *, overlap: int) -> tuple[str, str]:
        """Give a key's holder a new one: (new key, until when the former is taken). Its name and scope stay.

        Args:
            overlap: seconds for which both are taken.

        Raises:
            NotFound: there is no live key of that id.
            InvalidArguments: the one before the former is still taken, as was promised. Without an overlap all end.
        """
        key = make_key()
        until = _format_time(datetime.now(UTC) + timedelta(seconds=overlap))
        with self._store.transaction():
            done = self._store.execute(
                "UPDATE keys SET previous_hash = hash, previous_until = ?, hash = ? WHERE id = ? "
                "AND revoked_at IS NULL AND (? = 0 OR previous_until IS NULL OR previous_until <= ?)",
                (until, _hash_key(key), identity, overlap, _format_now()),
            )
        if done.rowcount == 0:
            promised = self._find_live(identity).previous_until
            raise InvalidArguments(
                f"overlap: the key before this one is taken until {promised}, and only one former key can be.",
                hint="Rotate it after that, or with overlap 0, which ends all former keys at once.",
            )
        self._forget_seen()
        return key, until

    def find(self, identity: str) -> Caller:
        """The live key of that id, or NotFound."""
        return self._find_live(identity).caller

    def has_ended(self, identity: str) -> bool:
        """Whether the key that decided under this id was revoked or replaced, or has expired.

        Of the subject of an outside issuer nobody tells us: what it decided holds for its hour.
        """
        kind, _, digest = identity.partition(":")
        if kind == ADMIN:
            return digest != self._read_admin_hash()
        found = next((stored for stored in self.list_keys() if stored.caller.id == identity), None)
        if found is None:
            return False
        expires_at = found.caller.expires_at
        return found.revoked_at is not None or (expires_at is not None and expires_at <= _format_now())

    def list_keys(self) -> Sequence[StoredKey]:
        rows = self._keys.iterate("TRUE ORDER BY created_at, id")
        return [
            StoredKey(row.caller, row.created_at, row.revoked_at, row.last_used_at, row.previous_until) for row in rows
        ]

    def revoke(self, identity: str) -> None:
        """End a key at once, everywhere; NotFound when there is no live key of that id."""
        with self._store.transaction():
            done = self._store.execute(
                "UPDATE keys SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL", (_format_now(), identity)
            )
        if done.rowcount == 0:
            raise _report_no_key(identity)
        self._forget_seen()

    def _find_live(self, identity: str) -> StoredKey:
        for stored in self.list_keys():
            if stored.caller.id == identity and stored.revoked_at is None:
                return stored
        raise _report_no_key(identity)

    def _read_admin_hash(self) -> str | None:
        try:
            status = os.stat(self._env_file)
            stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
        except OSError:
            self._env_stamp = None
            return self._given_hash
        if stamp != self._env_stamp:
            self._admin_hash = read_api_key_hash(self._env_file)
            self._env_stamp = stamp
        return self._admin_hash or self._given_hash

    def _forget_seen(self) -> None:
        """Read the keys again: they were changed here."""
        self._seen_version = -1
        self._turn.forget()

    def _note_use(self, identity: str) -> None:
        now = time.monotonic()
        if now - self._noted.get(identity, -_NOTE_SECONDS) < _NOTE_SECONDS:
            return
        used = partial(self._store.execute, "UPDATE keys SET last_used_at = ? WHERE id = ?", (_format_now(), identity))
        self._noted[identity] = now
        with suppress(DiskFull):  # a full disk keeps nobody out
            if not self._store.change_now(used):  # another process writes: the next call notes it
                del self._noted[identity]

    def _list_taken(self) -> list[_Taken]:
        """All keys that are taken, as they are now."""
        admin = self._read_admin_hash()
        return [*([] if admin is None else [(admin, None, _make_admin(admin))]), *self._read_keys()]

    def _read_keys(self) -> list[_Taken]:
        """The keys of the store, and those that were rotated."""
        version = self._store.changes_elsewhere
        if version != self._seen_version:  # our own writes reset it
            rows = self._keys.select("revoked_at IS NULL")
            self._active = [(row.hash, None, row.caller) for row in rows]
            self._active += [(row.previous_hash, row.previous_until, row.caller) for row in rows if row.previous_hash]
            self._seen_version = version
        return self._active


def make_key() -> str:
    """A key of a form that is known wherever one is pasted by mistake."""
    return f"{KEY_PREFIX}{secrets.token_urlsafe(32)}"


def _hash_key(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _report_no_key(identity: str) -> NotFound:
    return NotFound(
        f"There is no live key {identity[:40]!r}.",
        hint="keys.list shows the keys and their ids.",
        next=Next("keys.list"),
    )


def _format_now() -> str:
    return _format_time(datetime.now(UTC))


def _format_time(moment: datetime) -> str:
    return format_moment(moment)
