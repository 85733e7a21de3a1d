"""Deliveries of git hosts: which branches and tags were pushed, and which went.

Each host has a form of its own. What is no push (a ping, an issue, a build) is told as such.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ikoma.errors import InvalidArguments
from ikoma.model import GitRef
from ikoma.transports.webhooks.signatures import BITBUCKET, GITLAB

MEMBERS = frozenset({"ref", "after", "deleted", "object_kind", "push", "changes"})
"""Members that are read of a body."""

_COMMIT = re.compile(r"[0-9a-f]{40,64}")
_PUSHES = {GITLAB: ("push", "tag_push"), BITBUCKET: ("repo:push", "repo:refs_changed")}
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Push:
    """A branch or tag that was pushed, and the commit that it then named; None where that is not said."""

    ref: GitRef
    commit: str | None
    deleted: bool


@dataclass(frozen=True, slots=True)
class DeliveryOutcome:
    """The meaning of a delivery for one branch: a push that deploys it, or why it deploys nothing."""

    push: Push | None
    reason: str | None = None


def read_delivery(host: str, event: str, body: Mapping[str, Any], ref: str) -> DeliveryOutcome:
    """The meaning of a delivery for a branch.

    Raises:
        InvalidArguments: it names a branch, tag or commit that can be none.
    """
    kind = str(body.get("object_kind"))[:100] if host == GITLAB else event
    if kind not in _PUSHES.get(host, ("push",)):
        return DeliveryOutcome(
            None, f"The event is {event or kind or 'not named'}, not {_PUSHES.get(host, ('push',))[0]}."
        )
    pushes = _read_bitbucket(body) if host == BITBUCKET else [_make_push(body.get("ref"), body.get("after"), body)]
    if not pushes:
        return DeliveryOutcome(None, "It names no branch or tag.")
    found = next((push for push in pushes if push.ref == ref), None)
    if found is None:
        names = [push.ref for push in pushes]
        more = f" and {len(names) - _SHOWN} more are" if len(names) > _SHOWN else " is" if len(names) == 1 else " are"
        return DeliveryOutcome(pushes[0], f"{', '.join(names[:_SHOWN])}{more} not {ref}.")
    return DeliveryOutcome(found, f"{found.ref} was deleted." if found.deleted else None)


def _read_bitbucket(body: Mapping[str, Any]) -> list[Push]:
    """Bitbucket's own form, and that of its Data Center."""
    push = body.get("push")
    if isinstance(push, Mapping):
        return [_change(change) for change in _list_changes(push.get("changes"))]
    return [_change_of_data_center(change) for change in _list_changes(body.get("changes"))]


def _change(change: Mapping[str, Any]) -> Push:
    new, old = change.get("new"), change.get("old")
    is_gone = not isinstance(new, Mapping)
    named: Any = old if is_gone else new
    named = named if isinstance(named, Mapping) else {}
    kind = "tags" if "tag" in str(named.get("type")) else "heads"
    target = named.get("target")
    commit = target.get("hash") if isinstance(target, Mapping) and not is_gone else None
    return _make_push(f"refs/{kind}/{named.get('name')}", commit, {"deleted": is_gone})


def _change_of_data_center(change: Mapping[str, Any]) -> Push:
    ref = change.get("ref")
    identity = ref.get("id") if isinstance(ref, Mapping) else change.get("refId")
    return _make_push(identity, change.get("toHash"), {"deleted": change.get("type") == "DELETE"})


def _list_changes(given: Any) -> Sequence[Mapping[str, Any]]:
    return [item for item in given if isinstance(item, Mapping)] if isinstance(given, list) else []


def _make_push(ref: Any, commit: Any, told: Mapping[str, Any]) -> Push:
    """One push; InvalidArguments where that is no branch, tag or commit."""
    try:
        named = GitRef.parse(ref if isinstance(ref, str) else "")
    except ValueError:
        raise InvalidArguments(f"ref: {GitRef.advice}.", hint="A push names its ref: refs/heads/main.") from None
    if commit is not None and not (isinstance(commit, str) and _COMMIT.fullmatch(commit)):
        raise InvalidArguments("after: is no commit.", hint="A push names its commit in full, or leaves it out.")
    deleted = told.get("deleted") is True or (commit is not None and set(commit) == {"0"})
    return Push(named, None if deleted else commit, deleted)
