"""Waivers: an admin's audited word that one rule does not hold for one app, until a moment.

They live in state.db and end by themselves; ended ones stay on record.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ikoma.apps.yaml.violation import quoted
from ikoma.errors import Next, NotFound
from ikoma.kernel.state import connect
from ikoma.model import AppName

_SCHEMA = """
CREATE TABLE IF NOT EXISTS waivers (
    id TEXT PRIMARY KEY, app TEXT NOT NULL, rule TEXT NOT NULL, reason TEXT NOT NULL, caller TEXT NOT NULL,
    created_at TEXT NOT NULL, expires_at TEXT NOT NULL
) STRICT
"""


@dataclass(frozen=True, slots=True)
class Waiver:
    """Times are RFC 3339 in UTC."""

    id: str
    app: str
    rule: str
    reason: str
    caller: str
    created_at: str
    expires_at: str

    def __str__(self) -> str:
        return f"{self.rule} is waived until {self.expires_at} by {self.caller}: {self.reason}"


class Waivers:
    """All waivers, in the SQLite file `database`."""

    def __init__(self, database: Path) -> None:
        self._connection: sqlite3.Connection = connect(database, _SCHEMA)

    def grant(self, app: AppName, rule: str, reason: str, *, caller: str, expires_at: str) -> Waiver:
        waiver = Waiver(f"waiver_{secrets.token_hex(6)}", app, rule, reason, caller, _now(), expires_at)
        values = (waiver.id, app, rule, reason, caller, waiver.created_at, expires_at)
        self._connection.execute("INSERT INTO waivers VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        return waiver

    def end(self, app: AppName, identity: str) -> Waiver:
        """End a waiver now; NotFound where the app has no live one of that id."""
        found = next((waiver for waiver in self.live(app) if waiver.id == identity), None)
        if found is None:
            raise NotFound(
                f"{quoted(identity)} is no live waiver of {app}.",
                hint="apps.validate shows those that hold.",
                next=Next("apps.validate"),
            )
        self._connection.execute("UPDATE waivers SET expires_at = ? WHERE id = ?", (_now(), identity))
        return found

    def live(self, app: AppName) -> Sequence[Waiver]:
        """Those that hold now, oldest first."""
        rows = self._connection.execute(
            "SELECT * FROM waivers WHERE app = ? AND expires_at > ? ORDER BY created_at, id", (app, _now())
        )
        return [Waiver(*row) for row in rows.fetchall()]

    def forget(self, app: AppName) -> None:
        """End all of an app that is removed: another of its name begins without."""
        self._connection.execute(
            "UPDATE waivers SET expires_at = ? WHERE app = ? AND expires_at > ?", (_now(), app, _now())
        )

    def close(self) -> None:
        self._connection.close()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
