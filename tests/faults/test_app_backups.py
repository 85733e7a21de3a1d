"""A backup of a whole app is whole, signed and proven, or it is not there, whatever happens: `kill -9` too."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.apps import make_app
from tests.faults.server_observations import Background, list_proof_volumes, named
from tests.faults.test_bringing_back import KEEPS, TABLES, WITH_DATA, databases, state
from tests.rollouts.self_killing_server import COMMAND
from tests.support import Server, eventually
from tests.support import server as started_server

APP = named("whole")
STEPS = ("volumes", "database", "volume restored", "proven", "kept")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One that can be told to die."""
    with started_server(command=COMMAND) as started:
        yield started


@pytest.fixture(scope="module")
def app(server: Server) -> dict[str, str]:
    """An app that is up, with a database and a volume."""
    folder = make_app(server, APP, compose=WITH_DATA, command=KEEPS)
    server.do("db.create", {"appName": APP})
    (folder / "migrations" / "001_t.sql").write_text(TABLES)
    server.do("deploy.up", {"appName": APP})
    return {"appName": APP}


@pytest.fixture(scope="module")
def made(server: Server, app: dict[str, str]) -> dict[str, Any]:
    """One backup for the tests that only read."""
    answer: dict[str, Any] = server.do("backup.create", {**app, "backupName": f"{APP}-first.backup"})
    return answer


def names(server: Server) -> list[str]:
    """Names that the tests have made: the server makes others by the clock."""
    listed = [item["name"] for item in server.do("backup.list", {"appName": APP})["backups"]]
    return [name for name in listed if not name.startswith(f"{APP}-2")]


def leftovers(server: Server) -> list[str]:
    found = [path.name for path in server.backups.iterdir() if path.name.startswith(".")]
    found += list_proof_volumes([APP])
    return found + [name for name in databases(server) if name.startswith("ikoma-stand-in")]


def test_a_backup_holds_all_of_an_app_and_says_so(server: Server, made: dict[str, Any]) -> None:
    (facts,) = made["backups"]
    assert (facts["proven"], facts["holds"]) == (True, ["database", "volumes", "folder"])
    assert facts["restoreSeconds"] > 0
    assert made["warnings"][0] == "The app ran meanwhile: files of its folder are of several moments."
    assert made["volumes"] == {f"{APP}_data": "crash-consistent"}
    path = Path(made["path"])
    manifest = json.loads((path / "manifest.json").read_text())["manifest"]
    volume = f"{APP}_data"
    assert set(manifest["files"]) == {"database.sql", "folder.tar", "state.tar", f"volumes/{volume}.tar"}
    assert manifest["database"]["tables"] == {"t": 500}
    assert set(manifest["database"]["checksums"]) == {"t"}
    assert manifest["migration"] == "001_t.sql"
    assert manifest["release"] == server.do("apps.status", {"appName": APP})["release"]
    with tarfile.open(path / "volumes" / f"{volume}.tar") as archive:
        note = archive.extractfile("./note")
        assert note is not None
        assert note.read() == b"first\n"
    with tarfile.open(path / "folder.tar") as archive:
        held = archive.getnames()
    assert {"docker-compose.yml", "migrations/001_t.sql"} <= set(held)
    assert not any(name.startswith(".ikoma") for name in held)
    assert oct(path.stat().st_mode & 0o777) == "0o700"
    assert leftovers(server) == []


def test_it_is_verified_again_and_a_change_is_found(server: Server, app: dict[str, str], made: dict[str, Any]) -> None:
    given = {**app, "backupName": f"{APP}-first.backup"}
    before = made["backups"][0]["provenAt"]
    assert server.do("backup.verify", given)["backups"][0]["provenAt"] > before
    file = Path(made["path"]) / "volumes" / f"{APP}_data.tar"
    whole = file.read_bytes()
    try:
        for content in (whole.replace(b"first", b"worst"), whole[:-512]):
            file.write_bytes(content)
            refused = server.call("backup.verify", given)
            assert (refused.code, "a file is another" in refused.body["error"]) == ("backup_damaged", True)
    finally:
        file.write_bytes(whole)
    assert leftovers(server) == []


def test_wrong_names_are_told(server: Server, app: dict[str, str], made: dict[str, Any]) -> None:
    assert server.call("backup.create", {**app, "backupName": f"{APP}-first.backup"}).code == "backup_exists"
    for name in ("../x.backup", "x.sql", "a/b.backup"):
        assert server.call("backup.create", {**app, "backupName": name}).status == 422
    for name in ("no.backup", "no.sql"):
        assert server.call("backup.verify", {**app, "backupName": name}).code == "backup_missing"
    assert names(server) == [f"{APP}-first.backup"]


def test_a_backup_of_the_database_is_listed_verified_and_deleted_by_the_same_calls(
    server: Server, app: dict[str, str], made: dict[str, Any]
) -> None:
    given = {**app, "backupName": f"{APP}-one.sql"}
    server.do("db.backup", given)
    assert names(server) == [f"{APP}-one.sql", f"{APP}-first.backup"]
    assert server.do("backup.verify", given)["backups"][0]["proven"] is True
    left = server.do("backup.delete", given)["backups"]
    assert given["backupName"] not in [item["name"] for item in left]
    assert names(server) == [f"{APP}-first.backup"]
    assert not (server.backups / f"{APP}-one.sql").exists()


def test_the_database_of_a_backup_is_restored_and_an_edited_one_is_not(
    server: Server, app: dict[str, str], made: dict[str, Any]
) -> None:
    given = {**app, "backupName": f"{APP}-first.backup"}
    server.do("db.seed", {**app, "sql": "DELETE FROM t WHERE id > 100"})
    file = Path(made["path"]) / "database.sql"
    whole = file.read_bytes()
    for content in (whole.replace(b"c4ca4238", b"c4ca4239"), whole[:-1], b""):
        file.write_bytes(content)
        assert server.call("db.restore", given).code == "backup_damaged"
    file.write_bytes(whole)
    assert server.do("db.restore", {**given, "plan": True})["tables"] == [{"name": "t", "now": 100, "backup": 500}]
    assert server.do("db.restore", given)["details"]["rows"] == {"t": 500}


@pytest.mark.timeout(900)
def test_a_killed_server_leaves_no_half_backup(server: Server, app: dict[str, str], made: dict[str, Any]) -> None:
    for number, step in enumerate(STEPS):
        state(server, "kill-at").write_text(step)
        call = Background(server, "backup.create", {**app, "backupName": f"{APP}-k{number}.backup"})
        assert server.process is not None
        server.process.wait(timeout=120)
        server.process = None
        call.wait()
        server.start()
        assert (f"{APP}-k{number}.backup" in names(server)) == (step == "kept")
        eventually(lambda: not leftovers(server), "nothing is left of it")
    last = f"{APP}-k{len(STEPS) - 1}.backup"
    assert server.do("backup.verify", {**app, "backupName": last})["success"] is True
    server.do("backup.delete", {**app, "backupName": last})
    assert names(server) == [f"{APP}-first.backup"]
