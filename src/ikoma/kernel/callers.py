"""Who calls: API keys, each with a highest role and a scope.

Keys are stored as SHA-256 and compared in constant time. The admin key is the API_KEY_HASH of the settings, read
again when the file changes; all others live in state.db, and a change made by any process counts at once.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path

import orjson

from ikoma.errors import NotFound, OutOfScope, RoleTooLow, Unauthenticated
from ikoma.kernel.registry import Capability
from ikoma.model import AppName, Effect, Role
from ikoma.settings import read_api_key_hash

_SCHEMA = """
CREATE TABLE IF NOT EXISTS keys (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, hash TEXT NOT NULL UNIQUE, role INTEGER NOT NULL,
    apps TEXT NOT NULL, capabilities TEXT NOT NULL, read_only INTEGER NOT NULL,
    created_at TEXT NOT NULL, expires_at TEXT, revoked_at TEXT
) STRICT
"""


@dataclass(frozen=True, slots=True)
class Caller:
    """A key, as the pipeline sees it. `apps` and `capabilities` are globs; an empty tuple means all."""

    id: str
    name: str
    role: Role
    apps: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    read_only: bool = False
    expires_at: str | None = None

    def at_role(self, wanted: Role | None) -> Role:
        """The role this call is made with: the wanted one, at or below the key's own."""
        if wanted is not None and wanted > self.role:
            raise RoleTooLow(f"This key's role is {self.role}; it cannot act as {wanted}.")
        return self.role if wanted is None else wanted

    def check_capability(self, name: str, effect: Effect) -> None:
        """Raises OutOfScope where this key does not reach the capability."""
        if self.read_only and effect is not Effect.READS:
            raise OutOfScope("This key may only read.")
        if not _matches(name, self.capabilities):
            raise OutOfScope(f"This key does not reach {name}.")

    def reaches_capability(self, item: Capability) -> bool:
        return not (self.read_only and item.effect is not Effect.READS) and _matches(item.name, self.capabilities)

    def check_app(self, app: str) -> None:
        """Raises OutOfScope where this key does not reach the app, whether or not it exists."""
        if not self.reaches(app):
            raise OutOfScope(f"This key does not reach the app {app}.")

    def reaches(self, app: str) -> bool:
        return _matches(app, self.apps)


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key as it is listed: everything but the key."""

    caller: Caller
    created_at: str
    revoked_at: str | None


class Callers:
    """All keys that may call.

    Args:
        database: the SQLite file for keys; made when absent.
        env_file: the file whose last API_KEY_HASH is an admin key.
        api_key_hash: the admin key's hash from the environment, used where the file has none.
    """

    def __init__(self, database: Path, env_file: Path, api_key_hash: str | None) -> None:
        self._connection = sqlite3.connect(database, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA busy_timeout = 5000")
        self._connection.execute(_SCHEMA)
        self._env_file = env_file
        self._given_hash = api_key_hash
        self._env_stamp: tuple[int, int, int] | None = None
        self._admin_hash: str | None = None
        self._seen_version = -1
        self._active: list[tuple[str, Caller]] = []

    def authenticate(self, key: str | None) -> Caller:
        """The caller that this key belongs to.

        Raises:
            Unauthenticated: no key, an unknown, a revoked or an expired one. The answer does not say which.
        """
        if not key:
            raise Unauthenticated("No API key was given.")
        digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
        found: Caller | None = None
        admin = self._current_admin_hash()
        if admin is not None and hmac.compare_digest(admin, digest):
            found = Caller(id="admin", name="admin", role=Role.ADMIN)
        for stored, caller in self._current_keys():
            if hmac.compare_digest(stored, digest):
                found = caller
        if found is None or (found.expires_at is not None and found.expires_at <= _now()):
            raise Unauthenticated("This API key is not valid.")
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
    ) -> tuple[str, str]:
        """Make a key: (id, key). The key is shown this once; only its hash is kept."""
        identity, key = f"key_{secrets.token_hex(6)}", f"ikoma_{secrets.token_urlsafe(32)}"
        self._connection.execute(
            "INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)",
            (
                identity,
                name,
                hashlib.sha256(key.encode()).hexdigest(),
                int(role),
                orjson.dumps(list(apps)).decode(),
                orjson.dumps(list(capabilities)).decode(),
                int(read_only),
                _now(),
                expires_at,
            ),
        )
        self._seen_version = -1
        return identity, key

    def all(self) -> Sequence[StoredKey]:
        rows = self._connection.execute("SELECT * FROM keys ORDER BY created_at, id").fetchall()
        return [StoredKey(_caller(row), row[7], row[9]) for row in rows]

    def revoke(self, identity: str) -> None:
        """End a key at once, everywhere; NotFound when there is no live key of that id."""
        done = self._connection.execute(
            "UPDATE keys SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL", (_now(), identity)
        )
        if done.rowcount == 0:
            raise NotFound(f"There is no live key {identity[:40]!r}.", hint="keys.list shows the keys and their ids.")
        self._seen_version = -1

    def close(self) -> None:
        self._connection.close()

    def _current_admin_hash(self) -> str | None:
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

    def _current_keys(self) -> list[tuple[str, Caller]]:
        # data_version changes when another process has written; our own writes reset _seen_version.
        version = self._connection.execute("PRAGMA data_version").fetchone()[0]
        if version != self._seen_version:
            rows = self._connection.execute("SELECT * FROM keys WHERE revoked_at IS NULL").fetchall()
            self._active = [(row[2], _caller(row)) for row in rows]
            self._seen_version = version
        return self._active


def _caller(row: Sequence[object]) -> Caller:
    identity, name, _, role, apps, capabilities, read_only, _, expires_at, _ = row
    return Caller(
        id=str(identity),
        name=str(name),
        role=Role(int(str(role))),
        apps=tuple(orjson.loads(str(apps))),
        capabilities=tuple(orjson.loads(str(capabilities))),
        read_only=bool(read_only),
        expires_at=None if expires_at is None else str(expires_at),
    )


def _matches(name: AppName | str, globs: Sequence[str]) -> bool:
    return not globs or any(fnmatchcase(name, glob) for glob in globs)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
