"""An app's webhook: the secret with which a git host signs its pushes, and the deliveries that were taken.

What is signed is taken once. Most git hosts sign the body alone: neither its delivery id nor a time is proven by the
signature, so whoever has seen one delivery could send its body again, under any id, at any later time. Therefore the
digest of each body that led to a deploy is remembered for as long as the secret that signs it is in place; only what
carries a time of its own, and delivery ids, may be forgotten. That is bounded too: a secret that has signed as many
as are remembered takes no more, rather than one that may be old.
"""

from __future__ import annotations

import base64
import logging
import secrets
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from ikoma.app_folder import App
from ikoma.apps.app import Apps
from ikoma.apps.releases.release import format_now
from ikoma.durable import write_file
from ikoma.errors import HookReplayed, HookWornOut, IkomaError, Next, NotFound, StateUnreadable
from ikoma.kernel.state.store import Store, StoreTable
from ikoma.model import AppName, Secret

log = logging.getLogger("ikoma")

FILE = "hook.json"
MOST_REMEMBERED = 50_000
"""Deliveries of one secret: 130 deploys a day for a year."""
MOST_SHOWN = 50
"""Deliveries of one app that are kept to be shown."""

_KEEP_SECONDS = 7 * 24 * 3600


@dataclass(frozen=True, slots=True)
class StatusTarget:
    """The address and token for the statuses of commits. `url` None: the API of the host that the source came from."""

    token: Secret
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Webhook:
    """A webhook: the holder of its secret may have the branch deployed."""

    secret: Secret
    branch: str
    caller: str
    created_at: str
    statuses: StatusTarget | None = None

    @property
    def ref(self) -> str:
        return f"refs/heads/{self.branch}"

    @property
    def secrets(self) -> list[Secret]:
        """Secrets that nobody is shown."""
        return [self.secret, *([self.statuses.token] if self.statuses else [])]


@dataclass(frozen=True, slots=True)
class DeliveryMark:
    """The mark that a delivery is known by. One that lasts is remembered until the secret is replaced."""

    text: str
    lasts: bool


@dataclass(frozen=True, slots=True)
class Delivery:
    """One that was signed rightly: why it deployed nothing, or the operation that it began.

    `host` is the kind of git host, `status` what came of telling it.
    """

    at: str
    host: str
    event: str
    delivery: str
    ref: str | None = None
    pushed: str | None = None
    """The commit."""
    code: str | None = None
    reason: str | None = None
    operation: str | None = None
    status: str | None = None


@dataclass(slots=True)
class UnprovenDeliveries:
    """Deliveries that were not signed rightly, since the server started."""

    count: int = 0
    at: str = ""


def find(app: App) -> Webhook | None:
    """Find the app's webhook, where it has one."""
    return app.read_state(FILE, _parse_webhook)


def _parse_webhook(stored: Mapping[str, Any]) -> Webhook:
    token = stored.get("statusToken")
    statuses = StatusTarget(Secret(token), stored.get("statusUrl")) if token else None
    return Webhook(Secret(stored["secret"]), stored["branch"], stored["caller"], stored["createdAt"], statuses)


def generate_secret() -> Secret:
    """Generate a secret in the form that every git host takes: those of Standard Webhooks want it to begin so."""
    return Secret("whsec_" + base64.b64encode(secrets.token_bytes(32)).decode())


def require(app: App) -> Webhook:
    found = find(app)
    if found is None:
        raise NotFound(f"{app.name} has no webhook.", hint="hook.create makes one.", next=Next("hook.show"))
    return found


class Webhooks:
    """The webhooks of all apps, and what was taken of their deliveries.

    What writes is called through `change` by a server.
    """

    def __init__(self, store: Store, apps: Apps) -> None:
        self._store = store
        self._deliveries = StoreTable(store, "hook_deliveries", Delivery)
        self.change = store.change
        self._apps = apps
        self._unproven: dict[str, UnprovenDeliveries] = {}
        self.spool = store.folder
        """A folder for large bodies on their way."""

    def find(self, name: AppName) -> Webhook | None:
        """Find the webhook of the app of that name; None where there is no such app, or nobody can read what it is."""
        app = self._apps.locate(name)
        try:
            return find(app) if app.exists else None
        except StateUnreadable as error:  # whoever asks is not proven yet: nothing of it is told
            log.warning("%s", error.message)
            return None

    def create(
        self, app: App, branch: str, *, caller: str, secret: Secret | None = None, statuses: StatusTarget | None = None
    ) -> Webhook:
        """Make a webhook, in place of the one there was.

        Args:
            secret: the one that the git host has made; where there is none, one is made here.
        """
        hook = Webhook(secret or generate_secret(), branch, caller, format_now(), statuses)
        content = {"secret": hook.secret.reveal(), "branch": branch, "caller": caller, "createdAt": hook.created_at}
        if statuses is not None:
            content |= {"statusToken": statuses.token.reveal()} | ({"statusUrl": statuses.url} if statuses.url else {})
        write_file(app.make_state() / FILE, orjson.dumps(content), mode=0o600)
        with self._store.transaction():  # only now: what the former secret has signed is proven no more
            self._store.execute("DELETE FROM hook_marks WHERE app = ?", (app.name,))
        return hook

    def remove(self, app: App) -> None:
        (app.state / FILE).unlink(missing_ok=True)
        self.forget(app.name)

    def forget(self, name: AppName) -> None:
        """Forget what was taken for an app that never comes back."""
        with self._store.transaction():
            self._store.execute("DELETE FROM hook_marks WHERE app = ?", (name,))
            self._store.execute("DELETE FROM hook_deliveries WHERE app = ?", (name,))
        self._unproven.pop(name, None)

    def remember_delivery(self, app: AppName, marks: Sequence[DeliveryMark]) -> None:
        """Remember a delivery, durably.

        Raises:
            HookReplayed: one of the marks is known.
            HookWornOut: no more can be remembered.
        """
        moment = int(time.time())
        with self._store.transaction():
            self._store.execute("DELETE FROM hook_marks WHERE forget_at < ?", (moment,))
            known = self._store.execute("SELECT count(*) FROM hook_marks WHERE app = ?", (app,)).fetchone()[0]
            if known + len(marks) > MOST_REMEMBERED:
                raise HookWornOut()
            try:
                for mark in marks:
                    forget_at = None if mark.lasts else moment + _KEEP_SECONDS
                    self._store.execute("INSERT INTO hook_marks VALUES (?, ?, ?)", (app, mark.text, forget_at))
            except sqlite3.IntegrityError:
                raise HookReplayed() from None

    def forget_delivery(self, app: AppName, marks: Sequence[DeliveryMark]) -> None:
        """Forget a delivery that began nothing: the git host may send it again."""
        with self._store.transaction():
            for mark in marks:
                self._store.execute("DELETE FROM hook_marks WHERE app = ? AND mark = ?", (app, mark.text))

    def record_delivery(self, app: AppName, delivery: Delivery) -> int:
        """Keep a delivery to be shown, and let go of the oldest; its number."""
        with self._store.transaction():
            number = self._deliveries.insert(delivery, app=app)
            self._store.execute(
                "DELETE FROM hook_deliveries WHERE app = ? AND number <= (SELECT number FROM hook_deliveries"
                " WHERE app = ? ORDER BY number DESC LIMIT 1 OFFSET ?)",
                (app, app, MOST_SHOWN),
            )
        return number

    def record_failure(self, number: int, error: IkomaError) -> None:
        """Record that a delivery did not begin the operation that it was to begin."""
        with self._store.transaction():
            self._store.execute(
                "UPDATE hook_deliveries SET code = ?, reason = ?, operation = NULL WHERE number = ?",
                (error.code, error.audit_message, number),
            )

    def record_status(self, operation: str, status: str) -> None:
        """Record what came of telling the git host how an operation goes."""
        with self._store.transaction():
            self._store.execute("UPDATE hook_deliveries SET status = ? WHERE operation = ?", (status, operation))

    def count_unproven(self, app: AppName) -> None:
        """Count a delivery that was not signed rightly, where there is such a webhook."""
        seen = self._unproven.setdefault(app, UnprovenDeliveries())
        seen.count, seen.at = seen.count + 1, format_now()

    def read_unproven(self, app: AppName) -> UnprovenDeliveries:
        return self._unproven.get(app) or UnprovenDeliveries()

    def list_deliveries(self, app: AppName) -> list[Delivery]:
        """List the last deliveries, newest first."""
        return self._deliveries.select("app = ? ORDER BY number DESC LIMIT ?", (app, MOST_SHOWN))

    def find_host_kind(self, app: AppName) -> str:
        """Find the kind of the git host, by the deliveries that it sent; "" where that is not known."""
        row = self._store.execute(
            "SELECT host FROM hook_deliveries WHERE app = ? AND host NOT IN ('', 'ikoma') ORDER BY number DESC LIMIT 1",
            (app,),
        ).fetchone()
        return str(row[0]) if row else ""
