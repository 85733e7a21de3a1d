"""db.migrate: tried on a copy first, and without a transaction where a file says so."""

from __future__ import annotations

from tests.apps import make_app
from tests.support import Server

APP = {"appName": "migrating"}
COPIES = "SELECT count(*) FROM pg_database WHERE datname LIKE 'ikoma-stand-in-%'"


def test_a_dry_run_tells_what_the_files_would_do_and_changes_nothing(server: Server) -> None:
    folder = make_app(server, APP["appName"]) / "migrations"
    server.do("db.create", APP)
    server.do("db.migrate", {**APP, "sql": "CREATE TABLE t (id int); INSERT INTO t SELECT generate_series(1, 9)"})
    (folder / "001_wide.sql").write_text("ALTER TABLE t ALTER COLUMN id TYPE bigint; DELETE FROM t WHERE id = 1;")
    (folder / "002_index.sql").write_text(
        "-- ikoma: no-transaction\nCREATE INDEX CONCURRENTLY IF NOT EXISTS t_id ON t (id);"
    )
    planned = {role: server.do("deploy.plan", APP, role=role) for role in ("observer", "operator", "builder")}
    assert planned["builder"]["next"] == {"capability": "db.migrate", "arguments": {**APP, "dryRun": True}}
    deploy = {"capability": "deploy.up", "arguments": {**APP, "plan": planned["operator"]["plan"]}}
    assert planned["operator"]["next"] == deploy, "this key may not try it"
    assert planned["observer"].get("next") is None
    answer = server.call("db.migrate", {**APP, "dryRun": True}, headers={"X-Confirm": "ask"})
    assert answer.status == 200, "nothing is lost, so nobody is asked"
    tried = answer.result
    assert (tried["success"], tried["applied"]) == (True, [])
    assert tried["next"] == {"capability": "deploy.up", "arguments": APP}, "and not to the plan again"
    assert [item["name"] for item in tried["rehearsed"]] == ["001_wide.sql", "002_index.sql"]
    first, second = tried["rehearsed"]
    assert first["locks"] == ["t: ACCESS EXCLUSIVE, rewritten"]
    assert (first["rows"], first["rewritten"]) == ({"t": 1}, ["t"])
    assert second["locks"] == ["t: SHARE UPDATE EXCLUSIVE, scanned"]

    (folder / "003_strict.sql").write_text("ALTER TABLE t ADD CHECK (id > 5);")
    failed = server.do("db.migrate", {**APP, "dryRun": True})
    assert failed["success"] is False
    assert "003_strict.sql, line 1: check constraint" in failed["message"]
    assert [item["name"] for item in failed["rehearsed"]] == ["001_wide.sql", "002_index.sql"]

    status = server.do("db.status", APP)["migrations"]
    assert status["pending"] == ["001_wide.sql", "002_index.sql", "003_strict.sql"]
    assert server.do("db.query", {**APP, "sql": COPIES})["rows"] == [[0]]
    (folder / "003_strict.sql").unlink()
    assert server.do("db.migrate", APP)["applied"] == ["001_wide.sql", "002_index.sql"]
    assert server.do("db.migrate", {**APP, "dryRun": True})["message"].startswith("There was nothing to apply.")
    (folder / "004_new.sql").write_text("ALTER TABLE t ADD COLUMN more int;")
    assert server.do("deploy.plan", APP, role="builder")["next"]["capability"] == "deploy.up", "nothing to try"
