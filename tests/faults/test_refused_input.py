"""Requests that cannot be met are refused with a reason and a hint, and change nothing: names, volumes in use, keys."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyrage
import pytest

from tests.apps import make_app
from tests.faults.server_observations import named
from tests.faults.test_bringing_back import TABLES, databases, make_backed_up_app, note_of
from tests.images import busybox_image
from tests.support import Answer, Server, eventually
from tests.support import server as started_server

APP, STRANGER = named("refused"), named("stranger")
DUMP, WHOLE = "refused-kept.sql", "refused-kept.backup"


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for copies of backups; `wrong.txt` beside it holds a key that opens none of them."""
    place = tmp_path_factory.mktemp("copies")
    (place / "there").mkdir()
    (place / "wrong.txt").write_text(str(pyrage.x25519.Identity.generate()))
    (place / "wrong.txt").chmod(0o600)
    return place


@pytest.fixture(scope="module")
def server(copies: Path) -> Iterator[Server]:
    recipient = str(pyrage.x25519.Identity.generate().to_public())
    with started_server(
        OFFSITE_URL=f"file://{copies}/there",
        OFFSITE_AGE_RECIPIENTS=recipient,
        OFFSITE_AGE_IDENTITY_FILE=str(copies / "wrong.txt"),
    ) as started:
        make_backed_up_app(started, APP, TABLES, dump=DUMP, whole=WHOLE)
        yield started


def look(server: Server) -> tuple[Any, ...]:
    """The app, and since when it runs: what was refused has not stopped it either."""
    rows = server.do("db.query", {"appName": APP, "sql": "SELECT count(*), md5(string_agg(t::text, ',')) FROM t"})
    services = server.do("apps.status", {"appName": APP})["services"]
    started = subprocess.check_output(
        ["docker", "ps", "--no-trunc", "--quiet", "--filter", f"label=com.docker.compose.project={APP}"], text=True
    )
    return rows["rows"], note_of(APP), [item["state"] for item in services], started, databases(server)


def require_refused(answer: Answer, code: str, *words: str) -> None:
    assert answer.status in (404, 409, 422), answer.body
    assert answer.code == code, answer.body
    assert all(word in answer.body["error"] for word in words), answer.body
    assert answer.body["hint"], answer.body


@contextmanager
def held(volume: str, *, runs: bool) -> Iterator[None]:
    """A container of nobody's app that has a volume."""
    name = ["--name", STRANGER, "--volume", f"{volume}:/held"]
    made = ["run", "--detach", *name] if runs else ["create", *name]
    subprocess.run(["docker", *made, busybox_image(), "sleep", "600"], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["docker", "rm", "--force", STRANGER], check=True, capture_output=True)


@pytest.mark.parametrize("runs", [True, False], ids=["running", "created"])
def test_a_volume_in_use_is_told_with_who_has_it_and_nothing_is_stopped(server: Server, runs: bool) -> None:
    before = look(server)
    trash = server.do("trash.list", {})["entries"]
    with held(f"{APP}_data", runs=runs):
        for capability, arguments in (("apps.restore", {"backupName": WHOLE}), ("apps.remove", {})):
            refused = server.call(capability, {"appName": APP, **arguments})
            require_refused(refused, "volume_in_use", f"{APP}_data", STRANGER)
        assert look(server) == before
        assert server.do("trash.list", {})["entries"] == trash
        assert server.do("backup.create", {"appName": APP})["success"], "whoever reads it stands in nobody's way"
    server.do("apps.restore", {"appName": APP, "backupName": WHOLE})
    eventually(lambda: server.do("apps.health", {"appName": APP})["health"] == "healthy", "it serves")
    assert look(server)[:3] == before[:3]


def test_a_name_that_a_database_or_containers_have_again_is_kept(server: Server) -> None:
    before = look(server)[:3]
    entry = Path(server.do("apps.remove", {"appName": APP})["details"]["trash"])
    kept = sorted(str(path) for path in entry.rglob("*"))
    label = f"com.docker.compose.project={APP}"
    argv = ["docker", "create", "--name", STRANGER, "--label", label, busybox_image(), "true"]
    subprocess.run(argv, check=True, capture_output=True)
    try:
        require_refused(server.call("apps.restore", {"appName": APP}), "app_name_taken", "containers")
    finally:
        subprocess.run(["docker", "rm", "--force", STRANGER], check=True, capture_output=True)
    make_app(server, STRANGER)
    server.do("db.create", {"appName": STRANGER})
    (server.apps / STRANGER).rename(server.apps.parent / "aside")
    refused = server.call("apps.restore", {"appName": APP, "as": STRANGER})
    (server.apps.parent / "aside").rename(server.apps / STRANGER)
    require_refused(refused, "app_name_taken", "database")
    assert sorted(str(path) for path in entry.rglob("*")) == kept
    assert APP not in databases(server)
    server.do("apps.restore", {"appName": APP})
    eventually(lambda: server.do("apps.health", {"appName": APP})["health"] == "healthy", "it serves")
    assert look(server)[:3] == before
    server.do("apps.remove", {"appName": STRANGER})


def test_a_wrong_age_key_opens_no_copy_and_is_told(server: Server, tmp_path: Path) -> None:
    before = look(server)
    for name in (DUMP, WHOLE):
        for path in (server.backups / name, server.backups / f"{name}.json"):
            if path.exists():
                path.rename(tmp_path / path.name)
    there = sorted(path.name for path in server.backups.iterdir())
    calls = (("db.restore", DUMP), ("db.restore", WHOLE), ("apps.restore", WHOLE), ("backup.verify", DUMP))
    for capability, name in calls:
        refused = server.call(capability, {"appName": APP, "backupName": name})
        require_refused(refused, "offsite_sealed")
        assert "OFFSITE_AGE_IDENTITY_FILE" in refused.body["hint"]
    assert sorted(path.name for path in server.backups.iterdir()) == there
    assert look(server) == before
    for path in tmp_path.iterdir():
        path.rename(server.backups / path.name)
    server.do("backup.verify", {"appName": APP, "backupName": DUMP})


@pytest.mark.parametrize(
    ("capability", "arguments", "code", "words"),
    [
        ("schedules.set", {"name": "never", "cron": "0 0 31 4,6,9,11 *"}, "invalid_arguments", ()),
        ("schedules.set", {"name": "never", "cron": "0 0 30 2 *"}, "invalid_arguments", ()),
        ("db.restore", {"backupName": DUMP, "tables": ["nobody"]}, "table_missing", ("nobody",)),
        ("db.restore", {"backupName": WHOLE, "tables": ["t", "nobody"]}, "table_missing", ("nobody",)),
        ("db.restore", {"time": "2026-01-01T00:00:00Z"}, "point_in_time_off", ()),
        ("backup.create", {"backupName": "/tmp/x.backup"}, "invalid_arguments", ()),
        ("backup.create", {"backupName": WHOLE}, "backup_exists", (WHOLE,)),
        ("backup.create", {"backupName": DUMP}, "invalid_arguments", ()),
        ("db.backup", {"backupName": WHOLE}, "invalid_arguments", ()),
        ("backup.delete", {"backupName": "none.backup"}, "backup_missing", ()),
        ("backup.verify", {"backupName": "none.sql.zst"}, "backup_missing", ()),
        ("backup.download", {"backupName": "a/b.sql"}, "invalid_arguments", ()),
        ("trash.delete", {"id": "no-such-20260101-000000-0000"}, "trash_entry_missing", ()),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_not_there_or_no_name_is_told(
    server: Server, capability: str, arguments: dict[str, Any], code: str, words: tuple[str, ...]
) -> None:
    before, files = look(server), sorted(path.name for path in server.backups.iterdir())
    given = arguments if capability == "trash.delete" else {"appName": APP, **arguments}
    require_refused(server.call(capability, given), code, *words)
    assert look(server) == before
    assert sorted(path.name for path in server.backups.iterdir()) == files
    assert server.do("schedules.list", {"appName": APP})["schedules"] == []
