"""Approvals: a second key's consent to one exact call.

A request is bound to the caller, the capability and the arguments. It ends after an hour, works once, and nobody
decides on their own. A refusal holds for that hour; a consent, as long as the key that gave it. Requests live in
state.db, so every door and every process sees the same.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from ikoma.errors import ApprovalClosed, ApprovalDenied, ApprovalNeeded, ApprovalNotYours, ApprovalsFull, Next, NotFound
from ikoma.kernel.access.caller import Caller
from ikoma.kernel.state.store import JSON, Store, StoreTable
from ikoma.moments import format_moment

PENDING, APPROVED, DENIED, USED, EXPIRED = "pending", "approved", "denied", "used", "expired"

_LIFE = timedelta(hours=1)
_KEEP = 1000
"""Requests whose hour is over that are kept."""
_MOST_PENDING = 20
"""Requests of one key that wait at once."""


@dataclass(frozen=True, slots=True)
class Approval:
    """A request and what became of it. `arguments` are masked; times are RFC 3339 in UTC."""

    id: str
    capability: str
    app: str | None
    arguments: dict[str, Any]
    summary: str
    digest: str
    caller_id: str
    caller: str
    state: str
    created_at: str
    expires_at: str
    decided_by: str | None
    decided_at: str | None
    decided_by_id: str | None
    """The key that decided, as `Caller.decides_as`. None where an earlier version wrote the decision down."""


class Approvals:
    """All requests. What writes is called through `change` by a server."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.change = store.change
        self._approvals = StoreTable(store, "approvals", Approval, {"arguments": JSON})

    def allows(
        self, caller: Caller, capability: str, digest: str, *, has_ended: Callable[[str], bool], take: bool
    ) -> bool:
        """Whether there is consent to this very call; False where it has to be asked for.

        Args:
            has_ended: whether the key that decided under that id has ended.
            take: whether that uses the consent up; of several who try, one does.

        Raises:
            ApprovalNeeded: it was asked for, and nobody has decided.
            ApprovalDenied: it was refused.
        """
        found = self._find_latest(caller.id, digest)
        if found is None or found.state in (USED, EXPIRED) or found.expires_at <= _format_now():
            return False
        if found.state == DENIED:
            raise ApprovalDenied(f"{found.decided_by} has refused this call of {capability}.", approval=found.id)
        if found.state == PENDING:
            raise _make_refusal(found)
        if found.decided_by_id is not None and has_ended(found.decided_by_id):
            with self._store.transaction():
                self._store.execute("UPDATE approvals SET state = ? WHERE id = ?", (EXPIRED, found.id))
            return False
        if not take:
            return True
        with self._store.transaction():
            taken = self._store.execute(
                "UPDATE approvals SET state = ? WHERE id = ? AND state = ? AND expires_at > ?",
                (USED, found.id, APPROVED, _format_now()),
            )
        return taken.rowcount == 1

    def ask(
        self,
        caller: Caller,
        capability: str,
        digest: str,
        *,
        app: str | None,
        arguments: Mapping[str, Any],
        summary: str,
    ) -> ApprovalNeeded:
        """Make a request, unless there is one; the refusal that names it.

        Raises:
            ApprovalsFull: too many of this key's wait.
        """
        now = datetime.now(UTC)
        request = Approval(
            id=f"approval_{secrets.token_hex(6)}",
            capability=capability,
            app=app,
            arguments=dict(arguments),
            summary=summary,
            digest=digest,
            caller_id=caller.id,
            caller=caller.name,
            state=PENDING,
            created_at=_format_time(now),
            expires_at=_format_time(now + _LIFE),
            decided_by=None,
            decided_at=None,
            decided_by_id=None,
        )
        with self._store.transaction():  # of equal calls at once, one asks
            return _make_refusal(self._find_pending(caller, digest) or self._insert(request))

    def _find_pending(self, caller: Caller, digest: str) -> Approval | None:
        """The request for this very call that waits; ApprovalsFull where there is none, and may be no other."""
        waiting = [item for item in self._select("caller_id = ?", (caller.id,)) if item.state == PENDING]
        found = next((item for item in waiting if item.digest == digest), None)
        if found is None and len(waiting) >= _MOST_PENDING:
            raise ApprovalsFull(f"{len(waiting)} calls of this key wait for consent, as many as may.")
        return found

    def _insert(self, request: Approval) -> Approval:
        self._approvals.insert(request)
        self._store.execute(
            "DELETE FROM approvals WHERE expires_at <= ? AND id NOT IN "
            "(SELECT id FROM approvals ORDER BY created_at DESC, rowid DESC LIMIT ?)",
            (_format_now(), _KEEP),
        )
        return request

    def decide(self, identity: str, caller: Caller, state: str) -> Approval:
        """Approve or deny a request.

        Raises:
            NotFound: there is none of that id, or it is of an app that the caller does not reach.
            ApprovalNotYours: it is the caller's own, or the caller needs approval too.
            ApprovalClosed: it was decided already, or has ended.
        """
        found = self.get(identity)
        if found is None or not _reaches(caller, found):
            raise NotFound(
                f"There is no request {identity[:40]!r}.",
                hint="approvals.list shows those that wait.",
                next=Next("approvals.list"),
            )
        if found.caller_id == caller.id or caller.needs_approval:
            raise ApprovalNotYours
        with self._store.transaction():
            done = self._store.execute(
                "UPDATE approvals SET state = ?, decided_by = ?, decided_by_id = ?, decided_at = ? "
                "WHERE id = ? AND state = ? AND expires_at > ?",
                (state, caller.name, caller.decides_as, _format_now(), identity, PENDING, _format_now()),
            )
        now = self.get(identity)
        assert now is not None
        if done.rowcount != 1:
            raise ApprovalClosed(f"The request is {now.state}.")
        return now

    def get(self, identity: str) -> Approval | None:
        return next(iter(self._select("id = ?", (identity,))), None)

    def list_visible(self, caller: Caller, *, closed: bool) -> Sequence[Approval]:
        """Requests of what this caller reaches, newest first; those that still wait, or all."""
        return [
            item for item in self._select("TRUE", ()) if _reaches(caller, item) and (closed or item.state == PENDING)
        ]

    def _find_latest(self, caller_id: str, digest: str) -> Approval | None:
        return next(iter(self._select("caller_id = ? AND digest = ?", (caller_id, digest))), None)

    def _select(self, where: str, values: tuple[str, ...]) -> list[Approval]:
        return [
            _expire(item) for item in self._approvals.iterate(f"{where} ORDER BY created_at DESC, rowid DESC", values)
        ]


def _expire(stored: Approval) -> Approval:
    ended = stored.state in (PENDING, APPROVED) and stored.expires_at <= _format_now()
    return replace(stored, state=EXPIRED) if ended else stored


def _reaches(caller: Caller, request: Approval) -> bool:
    app = request.app
    return caller.reaches_name(request.capability) and (caller.reaches(app) if app else not caller.apps)


def _make_refusal(request: Approval) -> ApprovalNeeded:
    return ApprovalNeeded(
        f"{request.capability} waits for the consent of another key (request {request.id}).",
        approval=request.id,
        expiresAt=request.expires_at,
    )


def _format_now() -> str:
    return _format_time(datetime.now(UTC))


def _format_time(moment: datetime) -> str:
    return format_moment(moment, "milliseconds")
