"""Waivers: an admin's audited word that one rule does not hold for one app, until a moment.

They live in state.db and end by themselves; ended ones stay on record.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from ikoma.apps.yaml.violation import quote
from ikoma.errors import Next, NotFound
from ikoma.kernel.state.store import Store, StoreTable
from ikoma.model import AppName
from ikoma.moments import format_moment


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
    """All waivers. What writes is called through `change` by a server."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.change = store.change
        self._waivers = StoreTable(store, "waivers", Waiver)

    def grant(self, app: AppName, rule: str, reason: str, *, caller: str, expires_at: str) -> Waiver:
        waiver = Waiver(f"waiver_{secrets.token_hex(6)}", app, rule, reason, caller, _format_now(), expires_at)
        with self._store.transaction():
            self._waivers.insert(waiver)
        return waiver

    def end(self, app: AppName, identity: str) -> Waiver:
        """End a waiver now; NotFound where the app has no live one of that id."""
        found = next((waiver for waiver in self.list_live(app) if waiver.id == identity), None)
        if found is None:
            raise NotFound(
                f"{quote(identity)} is no live waiver of {app}.",
                hint="apps.validate shows those that hold.",
                next=Next("apps.validate"),
            )
        with self._store.transaction():
            self._store.execute("UPDATE waivers SET expires_at = ? WHERE id = ?", (_format_now(), identity))
        return found

    def list_live(self, app: AppName) -> Sequence[Waiver]:
        """List the waivers that hold now, oldest first."""
        return self._waivers.select("app = ? AND expires_at > ? ORDER BY created_at, id", (app, _format_now()))

    def forget(self, app: AppName) -> None:
        """End all of an app that is removed: another of its name begins without."""
        with self._store.transaction():
            self._store.execute(
                "UPDATE waivers SET expires_at = ? WHERE app = ? AND expires_at > ?",
                (_format_now(), app, _format_now()),
            )


def _format_now() -> str:
    return format_moment(datetime.now(UTC), "milliseconds")
