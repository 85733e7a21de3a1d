"""A server whose backups leave it by themselves: what it says of them, what comes back, and a place that fails."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyrage
import pytest

from tests.apps import make_app
from tests.faults.server_observations import named
from tests.offsite.places import SECRET, Line, S3Server
from tests.support import Server, eventually
from tests.support import server as started_server

APP = named("away")
ROWS = "CREATE TABLE t (n int); INSERT INTO t SELECT generate_series(1, 500)"


@pytest.fixture(scope="module")
def line(s3: S3Server) -> Iterator[Line]:
    made = Line(s3.port)
    yield made
    made.close()


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("key") / "key.txt"
    file.write_text(str(pyrage.x25519.Identity.generate()))
    file.chmod(0o600)
    return file


@pytest.fixture(scope="module")
def server(line: Line, identity: Path) -> Iterator[Server]:
    settings = {
        "OFFSITE_URL": f"s3://ready/of/{secrets.token_hex(6)}",
        "OFFSITE_S3_ENDPOINT": f"http://127.0.0.1:{line.port}",
        "OFFSITE_S3_KEY_ID": "writer",
        "OFFSITE_S3_SECRET": SECRET,
        "OFFSITE_AGE_RECIPIENTS": str(pyrage.x25519.Identity.from_str(identity.read_text()).to_public()),
    }
    with started_server(**settings) as started:
        make_app(started, APP)
        started.do("db.create", {"appName": APP})
        started.do("db.migrate", {"appName": APP, "sql": ROWS})
        yield started


def backups(server: Server) -> dict[str, dict[str, Any]]:
    return {item["name"]: item for item in server.do("backup.list", {"appName": APP})["backups"]}


def lose(server: Server, *names: str) -> None:
    """Take backups away, as a disk does that is gone."""
    for name in names:
        for path in (server.backups / name, server.backups / f"{name}.json"):
            if path.exists():
                path.rename(server.folder / path.name)


def test_backups_leave_by_themselves_and_come_back_with_a_key_alone(server: Server, identity: Path) -> None:
    dump = server.do("db.backup", {"appName": APP, "backupName": "away-1.sql"})
    assert dump["offsiteVerifiedAt"] is not None
    whole = server.do("backup.create", {"appName": APP, "backupName": "away-1.backup"})
    assert whole["message"].endswith("Its copy off this machine is verified.")
    assert whole["backups"][0]["places"] == ["here", "off-site"]
    listed = backups(server)
    assert {name: item["places"] for name, item in listed.items()} == {
        "away-1.sql": ["here", "off-site"],
        "away-1.backup": ["here", "off-site"],
    }
    assert server.do("platform.check")["details"]["offsite"]["copies"] == 2

    lose(server, "away-1.sql", "away-1.backup")
    assert backups(server)["away-1.sql"]["places"] == ["off-site"]
    server.do("db.migrate", {"appName": APP, "sql": "DELETE FROM t"})
    for name in listed:
        refused = server.call("db.restore", {"appName": APP, "backupName": name})
        assert refused.code == "offsite_sealed"
        assert "OFFSITE_AGE_IDENTITY_FILE" in refused.body["hint"]

    server.stop()
    server.env["OFFSITE_AGE_IDENTITY_FILE"] = str(identity)
    server.start()
    for name in listed:
        server.do("db.restore", {"appName": APP, "backupName": name})
        assert server.do("db.query", {"appName": APP, "sql": "SELECT count(*) FROM t"})["rows"] == [[500]]
        assert backups(server)[name]["places"] == ["here", "off-site"]
    assert server.do("backup.verify", {"appName": APP, "backupName": "away-1.backup"})["backups"][0]["proven"]
    assert [path.name for path in server.backups.iterdir() if path.name.startswith(".")] == []


def test_a_place_that_fails_is_told_and_costs_no_backup(server: Server, line: Line) -> None:
    line.left = 0
    made = server.do("db.backup", {"appName": APP, "backupName": "away-2.sql"})
    assert (made["proven"], made["offsiteVerifiedAt"]) == (True, None)
    assert made["warnings"][0].startswith("It has not left this machine: The bucket ready")
    assert backups(server)["away-2.sql"]["places"] == ["here"]
    assert "off-site backups" in server.cli("doctor").stdout
    said = server.do("platform.check")["details"]["offsite"]
    assert said["error"].startswith("The bucket ready") and said["failingSince"]
    line.left = None
    server.stop()
    server.start()  # which looks at once; while it runs it looks every few minutes
    eventually(lambda: backups(server)["away-2.sql"]["places"] == ["here", "off-site"], "it leaves afterwards", 150)
    assert "error" not in server.do("platform.check")["details"]["offsite"]


def test_a_backup_that_is_deleted_is_deleted_there_too(server: Server, s3: S3Server) -> None:
    server.do("db.backup", {"appName": APP, "backupName": "away-3.sql"})
    server.do("backup.delete", {"appName": APP, "backupName": "away-3.sql"})
    assert "away-3.sql" not in backups(server)
    prefix = server.env["OFFSITE_URL"].removeprefix("s3://ready/")
    found = s3.client().list_objects_v2(Bucket="ready", Prefix=f"{prefix}/{APP}/away-3.sql")
    assert found["KeyCount"] == 0


def test_the_servers_own_process_loads_no_library_of_a_place_and_no_log_has_the_secret(server: Server) -> None:
    assert server.process is not None
    loaded = Path(f"/proc/{server.process.pid}/maps").read_text()
    assert "pyrage" not in loaded
    kept = [server.log(), server.audit_log.read_text()]
    kept += [path.read_text(errors="replace") for path in Path(server.env["IKOMA_STATE"], "offsite").iterdir()]
    assert not any(SECRET in text for text in kept)
