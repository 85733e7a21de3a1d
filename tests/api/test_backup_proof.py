"""db.backup restores what it wrote, beside, and says at once where that fails."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.apps import make_app
from tests.support import Server

APP = "proof"


def test_a_backup_says_that_it_was_restored_or_why_it_cannot_be(server: Server) -> None:
    make_app(server, APP)
    server.do("db.create", {"appName": APP})
    made = (
        "CREATE EXTENSION unaccent; CREATE FUNCTION f(text) RETURNS text LANGUAGE sql IMMUTABLE"
        " AS $$ SELECT unaccent($1) $$; CREATE TABLE t (x text, y text GENERATED ALWAYS AS (f(x)) STORED);"
        "INSERT INTO t VALUES ('É')"
    )
    server.do("db.migrate", {"appName": APP, "sql": made})
    good = server.do("db.backup", {"appName": APP})
    assert (good["proven"], good["tables"]) == (True, {"t": 1})
    assert good["restoreSeconds"] > 0
    manifest = json.loads(Path(good["backupPath"] + ".json").read_text())["manifest"]
    assert manifest["proven_at"] >= manifest["created_at"]
    assert (set(manifest["checksums"]), manifest["postgres"][:3]) == ({"t"}, "18.")
    assert good["dumpSeconds"] == manifest["dump_seconds"] > 0

    broken = "CREATE OR REPLACE FUNCTION f(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT gone($1) $$"
    server.do("db.migrate", {"appName": APP, "sql": f"SET check_function_bodies = off; {broken}"})
    refused = server.call("db.backup", {"appName": APP, "backupName": "proof-bad.sql"})
    assert refused.code == "backup_unproven"
    assert (
        "proof-bad.sql was written, and cannot be restored: function gone(text) does not exist" in refused.body["error"]
    )
    kept = server.backups / "proof-bad.sql"
    assert kept.is_file()
    assert json.loads(kept.with_name("proof-bad.sql.json").read_text())["manifest"]["proven_at"] is None
    assert server.do("db.query", {"appName": APP, "sql": "SELECT count(*) FROM t"})["rows"] == [[1]]
    checks = server.do("artifact.verify_release", {"appName": APP})["checks"]
    said = next(item["details"] for item in checks if item["name"] == "backup")
    name = re.escape(Path(good["backupPath"]).name)
    assert re.fullmatch(rf"The last proven backup is {name}, made \d+ \w+ ago; nothing is deployed yet\.", said)


def test_the_checklist_counts_the_proven_database_of_a_whole_backup_and_tells_its_age(server: Server) -> None:
    make_app(server, "proof-whole")
    server.do("db.create", {"appName": "proof-whole"})
    server.do("db.backup", {"appName": "proof-whole"})
    name = Path(server.do("backup.create", {"appName": "proof-whole"})["path"]).name
    checks = server.do("artifact.verify_release", {"appName": "proof-whole"})["checks"]
    said = next(item["details"] for item in checks if item["name"] == "backup")
    assert re.fullmatch(
        rf"The last proven backup is {re.escape(name)}, made \d+ \w+ ago; nothing is deployed yet\.", said
    )
