"""Migrations that what serves cannot live with: tried on a copy first: nothing is stopped for what must fail."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.faults.server_observations import Background
from tests.rollouts.live_app import LiveApp, compose, new_app
from tests.support import Server, eventually

SHOP = "CREATE TABLE shop (id int, name text, gone int); INSERT INTO shop VALUES (1, 'a', 1), (2, NULL, 2);"
DROP = "ALTER TABLE shop DROP COLUMN gone;"
NOT_ON_A_COPY = "DO $$ BEGIN IF current_database() !~ '^ikoma-stand-in-' THEN RAISE 'refused'; END IF; END $$;"
# The row of the second table was written while the first had another, and its check would not let it in again.
UNRESTORABLE = """
CREATE TABLE zone (id int); INSERT INTO zone VALUES (1);
CREATE FUNCTION is_zone(int) RETURNS boolean LANGUAGE sql AS 'SELECT EXISTS (SELECT FROM public.zone WHERE id = $1)';
CREATE TABLE area (id int CHECK (public.is_zone(id))); INSERT INTO area VALUES (1);
DELETE FROM zone;
"""
# A session that restores cannot write this row, but for one that restores a copy.
RESTORED_ON_COPIES_ALONE = """
CREATE FUNCTION is_fine() RETURNS boolean LANGUAGE sql AS $$
    SELECT current_setting('application_name') NOT LIKE 'ikoma restore%' OR current_database() LIKE 'ikoma-stand-in-%'
$$;
CREATE TABLE odd (id int CHECK (public.is_fine())); INSERT INTO odd VALUES (1);
"""


@pytest.fixture(scope="module")
def app(server: Server) -> LiveApp:
    made = new_app(server, "live-rehearsed")
    made.do("db.create")
    migrate(made, "1_shop.sql", SHOP)
    made.deploy("good")
    return made


@pytest.fixture(autouse=True)
def tidied(app: LiveApp) -> Iterator[None]:
    yield
    for path in (app.folder / "migrations").glob("[2-9]*.sql"):
        path.unlink()
    app.write("good", compose())


def migrate(app: LiveApp, name: str, sql: str) -> None:
    (app.folder / "migrations" / name).write_text(sql)


def value(app: LiveApp, sql: str) -> object:
    return app.do("db.query", sql=sql)["rows"][0][0]


def backups(app: LiveApp) -> int:
    return len(list(app.server.backups.glob(f"{app.name}-*.sql")))


def read_backup(app: LiveApp, name: str) -> dict[str, Any]:
    return next(item for item in app.do("backup.list")["backups"] if item["name"] == name)


def copies(app: LiveApp) -> object:
    return value(app, "SELECT count(*) FROM pg_database WHERE datname LIKE 'ikoma-stand-in-%'")


def test_what_the_rows_refuse_stops_nothing(app: LiveApp) -> None:
    running, made, before = app.settle().running(), backups(app), app.remains()
    migrate(app, "2_drop.sql", DROP)
    migrate(app, "3_strict.sql", "ALTER TABLE shop ALTER COLUMN name SET NOT NULL;")
    app.write("broken")
    with app.loaded("good", rate=100):
        refused = app.call("deploy.up")
    assert (refused.code, app.running()) == ("sql_failed", running)
    assert refused.body["error"] == '3_strict.sql, line 1: column "name" of relation "shop" contains null values.'
    assert app.releases()[0]["cause"] == "3_strict.sql, line 1: NotNullViolation (23502)."
    assert (backups(app), copies(app), app.remains()) == (made, 0, before)
    assert value(app, "SELECT sum(gone) FROM shop") == 3


def test_a_backup_that_cannot_be_restored_stops_nothing(app: LiveApp) -> None:
    app.do("db.migrate", sql=UNRESTORABLE)
    running = app.settle().running()
    migrate(app, "2_drop.sql", DROP)
    app.write("broken")
    try:
        with app.loaded("good", rate=100):
            refused = app.call("deploy.up")
        assert (refused.code, app.running()) == ("backup_unproven", running)
        assert "area" in refused.body["error"]
        assert (
            app.releases()[0]["cause"]
            == "A backup of the database cannot be restored, so nothing was stopped or changed."
        )
        assert (copies(app), value(app, "SELECT sum(gone) FROM shop")) == (0, 3)
    finally:
        app.do("db.migrate", sql="DROP TABLE area; DROP FUNCTION is_zone; DROP TABLE zone;")


def test_a_backup_that_a_deploy_made_is_proven_once_it_serves_or_told_of(server: Server) -> None:
    app = new_app(server, "live-proven")
    app.do("db.create")
    migrate(app, "1_shop.sql", SHOP)
    deployed = app.do("deploy.up")["details"]
    assert (deployed["migrations"], deployed["warnings"]) == (["1_shop.sql"], [])
    made = read_backup(app, deployed["backup"])
    assert made["provenAt"] >= made["createdAt"]
    checks = {item["name"]: item for item in app.do("artifact.verify_release")["checks"]}
    assert deployed["backup"] in checks["backup"]["details"]

    app.do("db.migrate", sql=UNRESTORABLE)
    migrate(app, "2_color.sql", "ALTER TABLE shop ADD COLUMN color text;")
    deployed = app.do("deploy.up")["details"]
    assert deployed["migrations"] == ["2_color.sql"]
    (said,) = [item for item in deployed["warnings"] if "is not proven" in item]
    assert deployed["backup"] in said and "area" in said
    assert read_backup(app, deployed["backup"])["provenAt"] is None
    assert copies(app) == 0


def test_a_first_migration_that_fails_leaves_nothing_to_restore(app: LiveApp) -> None:
    table, made = value(app, "SELECT 'shop'::regclass::oid"), backups(app)
    migrate(app, "2_drop.sql", DROP + NOT_ON_A_COPY)
    app.write("broken")
    assert app.call("deploy.up").code == "sql_failed"
    assert value(app, "SELECT 'shop'::regclass::oid") == table
    assert backups(app) == made + 1
    eventually(lambda: app.do("apps.health")["health"] == "healthy", "what served serves again")
    migrate(app, "2_drop.sql", DROP)
    migrate(app, "3_fails.sql", NOT_ON_A_COPY)
    assert app.call("deploy.up").code == "sql_failed"
    assert value(app, "SELECT 'shop'::regclass::oid") != table, "what was applied before it was taken back"
    assert value(app, "SELECT sum(gone) FROM shop") == 3


def test_a_database_that_cannot_be_taken_back_is_told_of_with_the_cause_and_can_be_given_up(app: LiveApp) -> None:
    assert app.call("release.abandon").code == "nothing_to_abandon"
    app.do("db.migrate", sql=RESTORED_ON_COPIES_ALONE)
    good = app.releases()[0]["id"] if app.releases()[0]["current"] else None
    migrate(app, "2_drop.sql", DROP)
    migrate(app, "3_fails.sql", NOT_ON_A_COPY)
    app.write("broken")
    failed = app.call("deploy.up")
    assert failed.code == "sql_failed"
    assert failed.body["error"].startswith(
        "3_fails.sql, line 1: refused. The database could not be taken back to live-"
    )
    assert "release.abandon" in failed.body["hint"]
    assert failed.body["details"]["restore"]["code"] == "restore_failed"
    broken = app.releases()[0]
    assert (broken["state"], broken["id"] == good) == ("failed", False)
    assert broken["cause"].startswith(
        "3_fails.sql, line 1: RaiseException (P0001). The database could not be taken back"
    )
    for call in ("deploy.up", "deploy.restart", "deploy.rollback"):
        refused = app.call(call)
        assert refused.code == "restore_failed"
        assert "3_fails.sql, line 1: RaiseException (P0001)" in refused.body["error"]
        assert "release.abandon" in refused.body["hint"]
    assert app.running() == []

    given_up = app.do("release.abandon")
    assert given_up["details"]["abandoned"] is True
    assert given_up["details"]["release"] == broken["id"]
    assert (app.server.backups / given_up["details"]["backup"]).is_file()
    assert any(broken["id"] in line for line in given_up["details"]["lost"])
    assert app.do("db.query", sql="SELECT * FROM shop WHERE id = 1")["columns"] == ["id", "name"], "it stays"
    eventually(lambda: app.do("apps.health")["health"] == "healthy", "what served is started again")
    assert app.call("release.abandon").code == "nothing_to_abandon"
    told = [item["result"] for item in app.server.audit() if item["capability"] == "release.abandon"]
    assert told == ["started", "error", "started", "success", "started", "error"]
    app.do("db.migrate", sql="DROP TABLE odd; DROP FUNCTION is_fine;")
    (app.folder / "migrations" / "3_fails.sql").unlink()
    app.deploy("next")


def test_a_server_killed_in_a_rehearsal_leaves_no_copy(app: LiveApp) -> None:
    table = value(app, "SELECT count(*) FROM shop")
    waits = "DO $$ BEGIN IF current_database() ~ '^ikoma-stand-in-' THEN PERFORM pg_sleep(60); END IF; END $$;"
    migrate(app, "2_drop.sql", DROP)  # which is applied by now
    migrate(app, "4_drop.sql", f"{waits} DROP TABLE shop;")
    app.write("broken")
    serves = app.settle().running()
    deploying = Background(app.server, "deploy.up", {"appName": app.name})
    eventually(lambda: copies(app) == 1, "it is tried on a copy")
    app.server.kill()
    assert deploying.wait() is None
    app.server.start()
    eventually(lambda: copies(app) == 0, "the copy is gone")
    eventually(lambda: not (app.folder / ".ikoma" / "rehearsal.sql").exists(), "and the backup that it was made of")
    assert (app.running(), value(app, "SELECT count(*) FROM shop")) == (serves, table)


def test_a_way_back_whose_backup_is_damaged_stops_nothing(server: Server) -> None:
    app = new_app(server, "live-damaged")
    app.do("db.create")
    migrate(app, "1_shop.sql", SHOP)
    app.deploy("1")
    migrate(app, "2_drop.sql", DROP)
    app.deploy("2")
    kept = server.backups / app.releases()[0]["backup"]
    kept.write_bytes(kept.read_bytes().replace(b"shop", b"shup", 1))
    running, made = app.settle().running(), backups(app)
    with app.loaded("2", rate=100):
        assert app.call("deploy.rollback", database=True).code == "backup_damaged"
    assert (app.running(), backups(app), copies(app)) == (running, made, 0)
    assert value(app, "SELECT count(*) FROM shop") == 2
    app.do("deploy.down")
