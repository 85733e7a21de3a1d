"""A comparison of two releases tells what differs, and never a secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ikoma.apps.deploying.comparison import compare_rest, compare_services, compare_source
from ikoma.apps.snapshots.manifest import Snapshot, SnapshotEntry
from ikoma.compose.model import ComposeModel, parse_model
from ikoma.model import Secret


def lines(before: dict[str, Any], after: dict[str, Any], *secrets: str) -> tuple[str, ...]:
    def model(service: dict[str, Any]) -> ComposeModel:
        return parse_model({"services": {"web": service}})

    found = compare_services(model(before), model(after), [Secret(text) for text in secrets])
    return found.changed[0].lines if found.changed else ()


def test_what_is_equal_is_not_mentioned() -> None:
    service = {"image": "a:1", "environment": {"A": "1"}, "ports": [{"target": 80}]}
    assert lines(service, dict(service)) == ()


def test_a_key_is_shown_as_it_was_and_as_it_is() -> None:
    assert lines({"image": "a:1", "scale": 1}, {"image": "a:2", "user": "app"}) == (
        "image: a:1 → a:2",
        "scale: 1 → none",
        "user: none → app",
    )


def test_of_variables_labels_builds_and_commands_only_the_change_is_said() -> None:
    before = {
        "environment": {"GONE": "hidden", "SAME": "hidden", "OTHER": "hidden"},
        "build": {"context": "/a", "args": {"TOKEN": "hidden"}},
        "command": ["run", "hidden"],
        "healthcheck": {"test": ["CMD", "hidden"]},
    }
    after = {
        "environment": {"SAME": "hidden", "OTHER": "hidden2", "NEW": "hidden"},
        "build": {"context": "/a", "args": {"TOKEN": "hidden2"}},
        "command": ["run", "hidden2"],
        "labels": {"owner": "hidden"},
    }
    assert lines(before, after) == (
        "build: args changed",
        "command changed",
        "environment: GONE removed",
        "environment: NEW added",
        "environment: OTHER changed",
        "healthcheck removed",
        "labels: owner added",
    )


def test_a_secret_in_what_is_shown_is_hidden_also_as_compose_spells_it_and_where_it_would_be_cut() -> None:
    secret = "pa$word-of-some-length"
    spelled = secret.replace("$", "$$")
    assert lines({"user": "a"}, {"user": spelled}, secret) == ("user: a → ***",)
    [hostname] = lines({}, {"hostname": "x" * 280 + secret}, secret)
    assert "pa$" not in hostname
    assert len(hostname) <= 301


def test_services_and_what_stands_beside_them_come_and_go() -> None:
    before = parse_model({"services": {"a": {}, "b": {}}, "x-ikoma": {"port": 1}, "volumes": {"old": {}}})
    block = {"port": 2, "drain": "5s"}
    after = parse_model({"services": {"b": {}, "c": {}}, "x-ikoma": block, "networks": {"inner": None}})
    found = compare_services(before, after, [])
    assert (found.added, found.removed, found.changed) == (("c",), ("a",), ())
    assert compare_rest(before, after, []) == (
        "x-ikoma: drain: none → 5s",
        "x-ikoma: port: 1 → 2",
        "networks: inner added",
        "volumes: old removed",
    )


def test_files_differ_by_content_kind_mode_and_owner_but_not_by_time() -> None:
    def snapshot(**entries: SnapshotEntry) -> Snapshot:
        return Snapshot(Path("/app"), {f"src/{name}": entry for name, entry in entries.items()})

    file = SnapshotEntry("file", 0o644, 0, 0, "aa", 1, 5, 5, 5)
    before = snapshot(
        same=file, touched=file, mode=file, content=file, gone=file, folder=SnapshotEntry("folder", 0o755, 0, 0)
    )
    after = snapshot(
        same=file,
        touched=file._replace(mtime=6, ctime=6, inode=6),
        mode=file._replace(mode=0o755),
        content=file._replace(content="bb"),
        new=SnapshotEntry("link", 0o777, 0, 0, "same"),
    )
    found = compare_source(before, after)
    assert found.added == ("src/new",)
    assert found.changed == ("src/mode", "src/content")
    assert found.removed == ("src/gone",)
