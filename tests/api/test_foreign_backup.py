"""A backup that this server has not made is restored by an admin's word alone, and as the app's own role."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from ikoma.apps.signing import BackupKey
from tests.apps import make_app
from tests.support import Server

APP = "foreignly"
TABLES = "CREATE TABLE t (n int); INSERT INTO t SELECT generate_series(1, 300)"


@pytest.fixture(scope="module")
def given(server: Server) -> Iterator[dict[str, Any]]:
    """The call that restores a backup whose manifest nobody has."""
    make_app(server, APP)
    server.do("db.create", {"appName": APP})
    server.do("db.migrate", {"appName": APP, "sql": TABLES})
    made = Path(server.do("db.backup", {"appName": APP, "backupName": f"{APP}-made.sql"})["backupPath"])
    shutil.copyfile(made, server.backups / f"{APP}-bare.sql")
    yield {"appName": APP, "backupName": f"{APP}-bare.sql", "foreign": True}
    server.do("apps.remove", {"appName": APP})


def rows(server: Server, sql: str = "SELECT count(*) FROM t") -> Any:
    return server.do("db.query", {"appName": APP, "sql": sql})["rows"]


def on_record(server: Server, given: dict[str, Any]) -> list[dict[str, Any]]:
    return [item for item in server.audit() if item["capability"] == "db.restore" and item["arguments"] == given]


def test_only_an_admin_gives_the_word_and_a_person_is_asked(server: Server, given: dict[str, Any]) -> None:
    refused = server.call("db.restore", {**given, "foreign": False})
    assert (refused.code, "`foreign`" in refused.body["hint"]) == ("backup_foreign", True)
    key = server.do("keys.create", {"name": "foreign-builder", "role": "builder"})["key"]
    for headers in ({}, {"X-Confirm": "ask"}):
        refused = server.call("db.restore", given, key=key, headers=headers)
        assert (refused.status, refused.code) == (403, "role_too_low")
        assert refused.body["error"] == "`foreign` needs the role admin; the call has builder."
    asked = server.call("db.restore", given, headers={"X-Confirm": "ask"})
    assert asked.code == "confirmation_needed"
    assert f"Let {APP}-bare.sql, which this server has not made, run as {APP}" in json.dumps(asked.body)
    waits = server.do("keys.create", {"name": "foreign-waits", "role": "admin", "needsApproval": True})["key"]
    assert server.call("db.restore", given, key=waits).code == "approval_needed"
    for more in ({"plan": True}, {"tables": ["t"]}, {"backupName": None, "undo": True}):
        wrong = {name: value for name, value in {**given, **more}.items() if value is not None}
        assert server.call("db.restore", wrong).code == "invalid_arguments"


def test_it_is_restored_as_the_apps_own_role_and_on_record(server: Server, given: dict[str, Any]) -> None:
    server.do("db.seed", {"appName": APP, "sql": "DELETE FROM t WHERE n > 10; CREATE TABLE later ()"})
    before = len(on_record(server, given))
    done = server.do("db.restore", given)
    assert done["details"]["rows"] == {"t": 300}
    assert "this server has not made: whole; no manifest says what it should be." in done["message"]
    assert rows(server) == [[300]]
    owners = "SELECT DISTINCT tableowner::text FROM pg_tables WHERE schemaname IN ('public', 'ikoma')"
    assert rows(server, owners) == [[APP]]
    assert len(on_record(server, given)) > before, "its intent at least"
    server.do("db.restore", {"appName": APP, "undo": True})
    assert rows(server) == [[10]]
    server.do("db.restore", {"appName": APP, "undo": True})


def test_what_it_may_not_do_changes_nothing(server: Server, given: dict[str, Any], tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    text = (
        "--\n-- PostgreSQL database dump\n--\n\nDROP TABLE IF EXISTS t;\nCREATE TABLE t (n int);\n"
        f"\\! touch {tmp_path}/mark\n--\n-- PostgreSQL database dump complete\n--\n"
    )
    (server.backups / f"{APP}-bad.sql").write_text(text)
    refused = server.call("db.restore", {**given, "backupName": f"{APP}-bad.sql"})
    assert refused.code == "backup_unproven"
    assert "and the database was not touched: backslash commands are restricted" in refused.body["error"]
    assert list(tmp_path.iterdir()) == []
    assert rows(server) == [[300]]
    assert not list((server.apps / APP / ".ikoma").glob("restoring*"))
    assert server.call("db.restore", {**given, "backupName": "none.sql"}).code == "backup_missing"


def test_the_database_of_another_servers_whole_backup_comes_as_its_manifest_says(
    server: Server, given: dict[str, Any], tmp_path: Path
) -> None:
    name = f"{APP}-other.backup"
    place = Path(server.do("backup.create", {"appName": APP, "backupName": name})["path"])
    whole = {**given, "backupName": name}
    manifest = orjson.loads((place / "manifest.json").read_bytes())["manifest"]
    sign(place, manifest, tmp_path)
    assert server.call("db.restore", {**whole, "foreign": False}).code == "backup_foreign"
    server.do("db.seed", {"appName": APP, "sql": "DELETE FROM t"})
    done = server.do("db.restore", whole)
    assert "this server has not made: as its own manifest says." in done["message"]
    assert rows(server) == [[300]]
    manifest["database"]["tables"]["t"] = 301
    sign(place, manifest, tmp_path)
    assert server.call("db.restore", whole).code == "backup_unproven"
    with (place / "database.sql").open("ab") as file:
        file.write(b"\\! true\n")
    assert server.call("db.restore", whole).code == "backup_damaged"
    (place / "manifest.json").unlink()
    refused = server.call("db.restore", whole)
    assert (refused.code, "has no end" in refused.body["error"]) == ("backup_damaged", True)
    (place / "database.sql").unlink()
    (place / "database.sql").symlink_to("/etc/passwd")
    assert server.call("db.restore", whole).code == "backup_missing"
    assert rows(server) == [[300]]


def sign(place: Path, manifest: dict[str, Any], folder: Path) -> None:
    """As another server would have signed it."""
    key, signature = BackupKey(folder / "other.key").sign(orjson.dumps(manifest, option=orjson.OPT_SORT_KEYS))
    (place / "manifest.json").write_bytes(orjson.dumps({"manifest": manifest, "key": key, "signature": signature}))
