"""Deliveries of each git host: bodies in the shapes of their documentation."""

from __future__ import annotations

from typing import Any

import pytest

from ikoma.errors import InvalidArguments
from ikoma.transports.webhooks.pushes import read_delivery

MAIN = "refs/heads/main"
COMMIT = "a" * 40
NOTHING = "0" * 40


def gitlab(kind: str, **more: Any) -> dict[str, Any]:
    return {"object_kind": kind, "ref": MAIN, "after": COMMIT, "checkout_sha": COMMIT, "commits": [], **more}


def cloud(*changes: dict[str, Any]) -> dict[str, Any]:
    return {"actor": {}, "repository": {"full_name": "you/shop"}, "push": {"changes": list(changes)}}


def branch(name: str, kind: str = "branch") -> dict[str, Any]:
    return {"type": kind, "name": name, "target": {"type": "commit", "hash": COMMIT}}


def center(identity: str, kind: str = "UPDATE", to: str = COMMIT) -> dict[str, Any]:
    ref = {"id": identity, "displayId": identity.rpartition("/")[2], "type": "BRANCH"}
    return {"ref": ref, "refId": identity, "fromHash": NOTHING, "toHash": to, "type": kind}


PUSHES: list[tuple[str, str, dict[str, Any]]] = [
    ("github", "push", {"ref": MAIN, "after": COMMIT, "deleted": False, "created": False, "forced": True}),
    ("gitea", "push", {"ref": MAIN, "before": NOTHING, "after": COMMIT, "total_commits": 1}),
    ("gitlab", "Push Hook", gitlab("push")),
    ("bitbucket", "repo:push", cloud({"new": branch("main"), "old": None, "created": True, "closed": False})),
    ("bitbucket", "repo:push", cloud({"new": branch("other"), "old": None}, {"new": branch("main"), "old": None})),
    ("bitbucket", "repo:refs_changed", {"eventKey": "repo:refs_changed", "changes": [center(MAIN)]}),
    ("ikoma", "push", {"ref": MAIN, "after": COMMIT}),
]


@pytest.mark.parametrize(("host", "event", "body"), PUSHES)
def test_a_push_to_the_branch_is_found(host: str, event: str, body: dict[str, Any]) -> None:
    found = read_delivery(host, event, body, MAIN)
    assert found.push is not None
    assert (found.push.ref, found.push.commit, found.reason) == (MAIN, COMMIT, None)


@pytest.mark.parametrize(("host", "event", "body"), PUSHES)
def test_a_push_to_another_branch_is_told(host: str, event: str, body: dict[str, Any]) -> None:
    reason = read_delivery(host, event, body, "refs/heads/live").reason
    assert reason is not None
    assert reason.endswith("not refs/heads/live.")
    assert MAIN in reason


@pytest.mark.parametrize(
    ("host", "event", "body"),
    [
        ("github", "push", {"ref": MAIN, "after": NOTHING, "deleted": True}),
        ("gitea", "push", {"ref": MAIN, "after": NOTHING}),
        ("gitlab", "Push Hook", gitlab("push", after=NOTHING, checkout_sha=None)),
        ("bitbucket", "repo:push", cloud({"new": None, "old": branch("main"), "closed": True})),
        ("bitbucket", "repo:refs_changed", {"changes": [center(MAIN, "DELETE", NOTHING)]}),
    ],
)
def test_a_branch_that_went_deploys_nothing(host: str, event: str, body: dict[str, Any]) -> None:
    assert read_delivery(host, event, body, MAIN).reason == "refs/heads/main was deleted."


@pytest.mark.parametrize(
    ("host", "event", "body"),
    [
        ("github", "push", {"ref": "refs/tags/main", "after": COMMIT}),
        ("gitlab", "Tag Push Hook", gitlab("tag_push", ref="refs/tags/main")),
        ("bitbucket", "repo:push", cloud({"new": branch("main", "tag"), "old": None})),
        ("bitbucket", "repo:push", cloud({"new": branch("main", "annotated_tag"), "old": None})),
    ],
)
def test_a_tag_with_the_branchs_name_is_none(host: str, event: str, body: dict[str, Any]) -> None:
    assert read_delivery(host, event, body, MAIN).reason == "refs/tags/main is not refs/heads/main."


@pytest.mark.parametrize(
    ("host", "event", "body"),
    [
        ("github", "ping", {"zen": "x"}),
        ("github", "workflow_run", {}),
        ("gitea", "issues", {"ref": MAIN}),
        ("gitlab", "Merge Request Hook", {"object_kind": "merge_request"}),
        ("gitlab", "", {}),
        ("bitbucket", "diagnostics:ping", {"test": True}),
        ("bitbucket", "pullrequest:created", {}),
    ],
)
def test_what_is_no_push_is_told_as_what_it_is(host: str, event: str, body: dict[str, Any]) -> None:
    found = read_delivery(host, event, body, MAIN)
    assert found.push is None
    assert (found.reason or "").startswith("The event is ")


@pytest.mark.parametrize(
    "name", ["feature/a/b", "größe", "fix#12", "日本語/ブランチ", "a(b)'c\"$d&e;f|g", "@x", "_x", "a,b", "🚀"]
)
def test_branches_may_have_any_name_that_git_takes(name: str) -> None:
    found = read_delivery("github", "push", {"ref": f"refs/heads/{name}", "after": COMMIT}, f"refs/heads/{name}")
    assert found.push is not None
    assert found.reason is None


@pytest.mark.parametrize("ref", ["refs/heads/a b", "refs/heads/a..b", "refs/heads/.a", "refs/heads/a\x01", "", None, 7])
def test_what_can_be_no_ref_is_refused(ref: Any) -> None:
    for host, event, body in (
        ("github", "push", {"ref": ref}),
        ("gitlab", "Push Hook", gitlab("push", ref=ref)),
        ("bitbucket", "repo:refs_changed", {"changes": [{"refId": ref}]}),
    ):
        with pytest.raises(InvalidArguments):
            read_delivery(host, event, body, MAIN)


@pytest.mark.parametrize(
    "body", [{}, {"push": []}, {"push": {"changes": {}}}, {"changes": [1]}, {"push": {"changes": []}}]
)
def test_a_delivery_of_bitbucket_without_changes_names_nothing(body: dict[str, Any]) -> None:
    assert read_delivery("bitbucket", "repo:push", body, MAIN).reason == "It names no branch or tag."
