"""A packed dump is a backup like the others, for every call that takes one."""

from __future__ import annotations

from pathlib import Path

from tests.api.test_backup_download import get
from tests.apps import make_app
from tests.support import Server

APP, NAME = "packed", "packed-a.sql.zst"
COUNT = "SELECT count(*) FROM t"


def count(server: Server) -> int:
    return int(server.do("db.query", {"appName": APP, "sql": COUNT})["rows"][0][0])


def test_it_is_made_listed_fetched_proven_restored_and_deleted(server: Server) -> None:
    make_app(server, APP)
    server.do("db.create", {"appName": APP})
    server.do("db.migrate", {"appName": APP, "sql": "CREATE TABLE t AS SELECT n FROM generate_series(1, 1000) n"})
    asked = {"appName": APP, "backupName": NAME}
    made = server.do("db.backup", asked)
    file = Path(made["backupPath"])
    assert (file.name, made["proven"], made["tables"], made["size"]) == (NAME, True, {"t": 1000}, file.stat().st_size)
    assert server.call("db.backup", asked).code == "backup_exists"

    (listed,) = server.do("backup.list", {"appName": APP})["backups"]
    assert (listed["name"], listed["holds"], listed["proven"]) == (NAME, ["database"], True)
    offered = server.do("backup.download", asked)
    assert get(server, offered["path"])[2] == file.read_bytes()
    assert server.do("backup.verify", asked)["backups"][0]["provenAt"] >= listed["provenAt"]

    server.do("db.migrate", {"appName": APP, "sql": "DELETE FROM t WHERE n > 10"})
    compared = server.do("db.restore", {**asked, "plan": True})
    assert compared["tables"] == [{"name": "t", "now": 10, "backup": 1000}]
    server.do("db.restore", {**asked, "tables": ["t"]})
    assert count(server) == 1000
    server.do("db.migrate", {"appName": APP, "sql": "DELETE FROM t WHERE n > 20"})
    server.do("db.restore", asked)
    assert count(server) == 1000

    kept = file.read_bytes()
    file.write_bytes(kept[: len(kept) // 2])
    assert server.call("db.restore", asked).code == "backup_damaged"
    assert server.call("backup.verify", asked).code == "backup_damaged"
    file.write_bytes(kept)
    assert count(server) == 1000

    server.do("db.restore", {"appName": APP, "undo": True})
    assert count(server) == 20
    foreign = server.backups / "other.sql.zst"
    foreign.write_bytes(kept)
    assert server.call("db.restore", {**asked, "backupName": foreign.name}).code == "backup_foreign"
    server.do("db.restore", {**asked, "backupName": foreign.name, "foreign": True})
    assert count(server) == 1000

    server.do("backup.delete", asked)
    assert not file.exists()
    assert [
        item["name"] for item in server.do("backup.list", {"appName": APP})["backups"] if item["name"] == NAME
    ] == []


def test_a_release_is_taken_back_with_it_and_another_app_gets_it(server: Server) -> None:
    name, other = f"{APP}-back", f"{APP}-other"
    folder = make_app(server, name)
    make_app(server, other)
    for app in (name, other):
        server.do("db.create", {"appName": app})
    (folder / "migrations" / "001_t.sql").write_text("CREATE TABLE t AS SELECT n FROM generate_series(1, 700) n")
    server.do("deploy.up", {"appName": name})
    before = server.do("release.list", {"appName": name})["releases"][0]["id"]
    packed = server.do("db.backup", {"appName": name, "backupName": f"{name}-a.sql.zst"})
    (folder / "migrations" / "002_gone.sql").write_text("ALTER TABLE t RENAME TO u; DELETE FROM u WHERE n > 5")
    server.do("deploy.up", {"appName": name})
    for item in server.do("backup.list", {"appName": name})["backups"]:
        if item["name"] != f"{name}-a.sql.zst":  # the deploy's own is the newer one
            server.do("backup.delete", {"appName": name, "backupName": item["name"]})

    wanted = {"appName": name, "database": True}
    planned = server.do("deploy.plan", {**wanted, "rollback": True})["rollback"]
    assert f"{name}-a.sql.zst" in planned["database"]
    file = Path(packed["backupPath"])
    kept = file.read_bytes()
    file.write_bytes(kept[:-9])
    damaged = server.call("deploy.rollback", wanted)
    assert damaged.code == "backup_damaged"
    count = {"appName": name, "sql": "SELECT count(*) FROM u"}
    assert server.do("db.query", count)["rows"] == [[5]]
    file.write_bytes(kept)
    done = server.do("deploy.rollback", wanted)
    assert done["details"]["release"] == before
    assert server.do("db.query", {**count, "sql": "SELECT count(*) FROM t"})["rows"] == [[700]]

    server.do("db.restore", {"appName": name, "backupName": file.name, "as": other})
    assert server.do("db.query", {"appName": other, "sql": "SELECT count(*) FROM t"})["rows"] == [[700]]
    server.do("db.migrate", {"appName": other, "sql": "ALTER TABLE t ADD COLUMN ours int"})  # it is its owner
    server.do("db.restore", {"appName": other, "undo": True})
    assert server.call("db.query", {"appName": other, "sql": "SELECT count(*) FROM t"}).status != 200
