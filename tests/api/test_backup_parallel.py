"""A whole backup whose dump several workers have written is one like the others, for every call that takes one."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ikoma.apps.app import Apps
from ikoma.apps.backups.folder import read_manifest
from ikoma.apps.recovery.entries import make_entry
from tests.api.test_backup_download import get
from tests.apps import make_app
from tests.support import Server
from tests.support import server as started_server

APP, OTHER = "parallel", "parallel-other"
MADE = """
CREATE EXTENSION citext;
CREATE TABLE t AS SELECT n, md5(n::text) AS x FROM generate_series(1, 1000) AS n;
CREATE TABLE u (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name citext UNIQUE,
    twice int GENERATED ALWAYS AS (id * 2) STORED);
INSERT INTO u (name) SELECT 'name ' || n FROM generate_series(1, 100) AS n;
CREATE INDEX ON t (x);
SELECT lo_from_bytea(0, 'large');
"""


@pytest.fixture(scope="module")
def own() -> Iterator[Server]:
    with started_server(PARALLEL_BACKUP_ABOVE_MB="0") as started:
        for name in (APP, OTHER):
            make_app(started, name)
            started.do("db.create", {"appName": name})
        started.do("db.migrate", {"appName": APP, "sql": MADE})
        yield started


def ask(server: Server, text: str, app: str = APP) -> Any:
    return server.do("db.query", {"appName": app, "sql": text})["rows"]


def read_files(place: Path) -> list[str]:
    return list(json.loads((place / "manifest.json").read_text())["manifest"]["files"])


def test_it_is_made_proven_fetched_and_restored(own: Server) -> None:
    asked = {"appName": APP, "backupName": f"{APP}-a.backup"}
    place = Path(own.do("backup.create", asked)["path"])
    files = read_files(place)
    assert "database/toc.dat" in files
    assert "database.sql" not in files
    told = json.loads((place / "manifest.json").read_text())["manifest"]
    assert told["proven_at"]
    assert {table: told["database"]["tables"][table] for table in "tu"} == {"t": 1000, "u": 100}
    assert set(told["database"]["checksums"]) == {*told["database"]["tables"], "pg_catalog.pg_largeobject"}
    assert own.do("backup.verify", asked)["backups"][0]["proven"] is True
    offered = own.do("backup.download", asked)
    with tarfile.open(fileobj=io.BytesIO(get(own, offered["path"])[2])) as archive:
        assert {item.name for item in archive} == {f"{place.name}/{name}" for name in (*files, "manifest.json")}

    own.do("db.migrate", {"appName": APP, "sql": "DELETE FROM t; DROP TABLE u"})
    compared = {item["name"]: item for item in own.do("db.restore", {**asked, "plan": True})["tables"]}
    assert compared["t"] == {"name": "t", "now": 0, "backup": 1000}
    own.do("db.restore", asked)
    assert ask(own, "SELECT count(*), (SELECT count(*) FROM u WHERE twice = id * 2) FROM t") == [[1000, 100]]
    own.do("db.migrate", {"appName": APP, "sql": "INSERT INTO u (name) VALUES ('since'); DELETE FROM t WHERE n > 7"})
    own.do("db.restore", {**asked, "tables": ["t"]})
    assert ask(own, "SELECT count(*), (SELECT count(*) FROM u) FROM t") == [[1000, 101]]
    own.do("db.migrate", {"appName": APP, "sql": "DELETE FROM t WHERE n > 9"})
    own.do("db.restore", asked)
    own.do("db.restore", {"appName": APP, "undo": True})
    assert ask(own, "SELECT count(*), (SELECT count(*) FROM u) FROM t") == [[9, 101]]
    own.do("db.restore", {"appName": APP, "undo": True})
    own.do("db.restore", {**asked, "as": OTHER})
    assert ask(own, "SELECT count(*), (SELECT max(id) FROM u) FROM t", OTHER) == [[1000, 100]]
    own.do("db.migrate", {"appName": OTHER, "sql": "ALTER TABLE t ADD COLUMN ours int"})  # it is its owner


def test_one_that_was_harmed_is_refused_and_changes_nothing(own: Server) -> None:
    asked = {"appName": APP, "backupName": f"{APP}-a.backup"}
    folder = own.backups / asked["backupName"] / "database"
    file = max(folder.glob("*.dat"), key=lambda path: path.stat().st_size)
    kept, before = file.read_bytes(), ask(own, "SELECT count(*) FROM t")
    for content in (kept[: len(kept) // 2], kept.replace(b"\t", b"\tx", 1), None):
        file.unlink()
        if content is not None:
            file.write_bytes(content)
        assert own.call("db.restore", asked).code == "backup_damaged"
        assert own.call("backup.verify", asked).code == "backup_damaged"
        file.write_bytes(kept)
    assert ask(own, "SELECT count(*) FROM t") == before
    refused = own.call("db.restore", {**asked, "foreign": True})
    assert (refused.code, "pg_restore" in refused.body["hint"]) == ("backup_foreign", True)


def test_what_needs_the_apps_search_path_is_dumped_as_one_text(own: Server) -> None:
    made = (
        "CREATE EXTENSION unaccent; CREATE FUNCTION f(text) RETURNS text LANGUAGE sql IMMUTABLE"
        " AS $$ SELECT unaccent($1) $$; CREATE TABLE g (x text, y text GENERATED ALWAYS AS (f(x)) STORED);"
        "INSERT INTO g (x) VALUES ('É')"
    )
    own.do("db.migrate", {"appName": APP, "sql": made})
    place = Path(own.do("backup.create", {"appName": APP})["path"])
    files = read_files(place)
    assert "database.sql" in files
    assert not [name for name in files if name.startswith("database/")]
    assert sorted(name for name in os.listdir(place) if name != "volumes") == [
        *("database.sql", "folder.tar", "manifest.json", "state.tar")
    ]
    own.do("backup.verify", {"appName": APP, "backupName": place.name})


def test_a_new_server_and_another_app_get_it_back(own: Server) -> None:
    place = own.backups / f"{APP}-a.backup"
    own.do("apps.remove", {"appName": APP})
    for name in (f"{APP}-again", APP):
        entry = make_entry(Apps(own.apps), read_manifest(place).backup, place)  # as `ikoma recover` does
        own.do("apps.restore", {"appName": APP, "id": entry, "as": name})
        assert ask(own, "SELECT count(*), (SELECT count(*) FROM u) FROM t", name) == [[1000, 100]]
        own.do("db.migrate", {"appName": name, "sql": "ALTER TABLE t ADD COLUMN ours int"})
