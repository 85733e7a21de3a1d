"""An app's webhook: the secret with which a git host signs its pushes, and the deliveries that were taken.

What is signed is taken once. A git host signs the body alone: neither its delivery id nor a time is proven by the
signature, so whoever has seen one delivery could send its body again, under any id, at any later time. Therefore the
digest of each body that led to a deploy is remembered for as long as the secret that signs it is in place; only what
carries a time of its own, and delivery ids, may be forgotten. That is bounded too: a secret that has signed as many
as are remembered takes no more, rather than one that may be old.
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from ikoma.apps.folder import App, Apps
from ikoma.apps.release import now
from ikoma.durable import write_file
from ikoma.errors import HookReplayed, HookWornOut, NotFound
from ikoma.kernel.state import connect
from ikoma.model import AppName, Secret

FILE = "hook.json"
MOST_REMEMBERED = 50_000
"""Deliveries of one secret: 130 deploys a day for a year."""

_KEEP_SECONDS = 7 * 24 * 3600
_SCHEMA = """
CREATE TABLE IF NOT EXISTS hook_marks (
    app TEXT NOT NULL, mark TEXT NOT NULL, forget_at INTEGER, PRIMARY KEY (app, mark)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS hook_last (
    app TEXT PRIMARY KEY, at TEXT NOT NULL, event TEXT NOT NULL, delivery TEXT NOT NULL, reason TEXT, operation TEXT
) STRICT
"""


@dataclass(frozen=True, slots=True)
class Hook:
    """Who holds the secret may have the branch deployed."""

    secret: Secret
    branch: str
    caller: str
    created_at: str

    @property
    def ref(self) -> str:
        return f"refs/heads/{self.branch}"


@dataclass(frozen=True, slots=True)
class Mark:
    """What a delivery is known by. One that lasts is remembered until the secret is replaced."""

    text: str
    lasts: bool


@dataclass(frozen=True, slots=True)
class Last:
    """The last delivery that was signed rightly: why it deployed nothing, or the operation that it began."""

    at: str
    event: str
    delivery: str
    reason: str | None = None
    operation: str | None = None


def find(app: App) -> Hook | None:
    """The app's webhook, where it has one."""
    try:
        stored = orjson.loads((app.state / FILE).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Hook(Secret(stored["secret"]), stored["branch"], stored["caller"], stored["createdAt"])


def require(app: App) -> Hook:
    found = find(app)
    if found is None:
        raise NotFound(f"{app.name} has no webhook.", hint="hook.create makes one.")
    return found


class Hooks:
    """The webhooks of all apps, and what was taken of their deliveries, in the SQLite file `database`."""

    def __init__(self, database: Path, apps: Apps) -> None:
        self._connection = connect(database, _SCHEMA)
        self._apps = apps

    def find(self, name: AppName) -> Hook | None:
        """The webhook of the app of that name; None where there is no such app either."""
        app = self._apps.at(name)
        return find(app) if app.exists else None

    def create(self, app: App, branch: str, *, caller: str) -> Hook:
        """Make a webhook, in place of the one there was."""
        hook = Hook(Secret(secrets.token_urlsafe(32)), branch, caller, now())
        content = {"secret": hook.secret.reveal(), "branch": branch, "caller": caller, "createdAt": hook.created_at}
        write_file(app.make_state() / FILE, orjson.dumps(content), mode=0o600)
        self._forget(app.name)  # only now: what the former secret has signed is proven no more
        return hook

    def remove(self, app: App) -> None:
        (app.state / FILE).unlink(missing_ok=True)
        self._forget(app.name)

    def take(self, app: AppName, marks: Sequence[Mark]) -> None:
        """Remember a delivery, durably.

        Raises:
            HookReplayed: one of the marks is known.
            HookWornOut: no more can be remembered.
        """
        moment = int(time.time())
        with self._changing() as connection:
            connection.execute("DELETE FROM hook_marks WHERE forget_at < ?", (moment,))
            known = connection.execute("SELECT count(*) FROM hook_marks WHERE app = ?", (app,)).fetchone()[0]
            if known + len(marks) > MOST_REMEMBERED:
                raise HookWornOut()
            try:
                connection.executemany(
                    "INSERT INTO hook_marks VALUES (?, ?, ?)",
                    [(app, mark.text, None if mark.lasts else moment + _KEEP_SECONDS) for mark in marks],
                )
            except sqlite3.IntegrityError:
                raise HookReplayed() from None

    def give_back(self, app: AppName, marks: Sequence[Mark]) -> None:
        """Forget a delivery that began nothing: the git host may send it again."""
        with self._changing() as connection:
            connection.executemany(
                "DELETE FROM hook_marks WHERE app = ? AND mark = ?", [(app, mark.text) for mark in marks]
            )

    def note(self, app: AppName, last: Last) -> None:
        with self._changing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO hook_last VALUES (?, ?, ?, ?, ?, ?)",
                (app, last.at, last.event, last.delivery, last.reason, last.operation),
            )

    def last(self, app: AppName) -> Last | None:
        row = self._connection.execute(
            "SELECT at, event, delivery, reason, operation FROM hook_last WHERE app = ?", (app,)
        ).fetchone()
        return Last(*row) if row else None

    def close(self) -> None:
        self._connection.close()

    def _forget(self, app: AppName) -> None:
        with self._changing() as connection:
            connection.execute("DELETE FROM hook_marks WHERE app = ?", (app,))
            connection.execute("DELETE FROM hook_last WHERE app = ?", (app,))

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """All that is written in the block, or nothing of it; on the disk when it ends."""
        self._connection.execute("BEGIN IMMEDIATE")
        with self._connection:
            yield self._connection
