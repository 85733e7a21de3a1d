"""Backups whose only copy is off this machine: every call that takes one fetches it, or says what opens it."""

from __future__ import annotations

import io
import secrets
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyrage
import pytest

from tests.api.test_backup_download import get
from tests.apps import make_app
from tests.faults.server_observations import named
from tests.faults.test_bringing_back import KEEPS, WITH_DATA
from tests.offsite.places import SECRET, S3Server, SftpServer
from tests.support import Server
from tests.support import server as started_server

ROWS = "CREATE TABLE t AS SELECT n FROM generate_series(1, 500) n; CREATE TABLE u AS SELECT 1 AS n"
KINDS = ("s3", "sftp", "file")
_TAKES_ANY = ("db.restore", "backup.verify", "backup.download")


@dataclass
class Far:
    """A server whose backups are off this machine alone.

    Args:
        identity: what opens them; the file that the server reads is empty of it until `give_key`.
    """

    server: Server
    app: str
    other: str
    opens: Path
    identity: pyrage.x25519.Identity
    names: list[str] = field(default_factory=list)

    @property
    def args(self) -> dict[str, Any]:
        return {"appName": self.app}

    def give_key(self, identity: pyrage.x25519.Identity) -> None:
        self.opens.write_text(f"{identity}\n")

    def lose(self) -> None:
        """Take the backups away that are here, as a disk does that is gone."""
        for name in self.names:
            path = self.server.backups / name
            if path.is_dir():
                shutil.rmtree(path)
            for file in (path, path.with_name(f"{name}.json")):
                file.unlink(missing_ok=True)
        listed = {item["name"]: item for item in self.server.do("backup.list", self.args)["backups"]}
        assert {name: listed[name]["places"] for name in self.names} == {name: ["off-site"] for name in self.names}

    def count(self, app: str = "") -> int:
        asked = {"appName": app or self.app, "sql": "SELECT count(*) FROM t"}
        return int(self.server.do("db.query", asked)["rows"][0][0])

    def put(self, statement: str) -> None:
        self.server.do("db.migrate", {**self.args, "sql": statement})

    def run_in_app(self, *argv: str) -> str:
        found = ["docker", "ps", "--quiet", "--filter", f"label=com.docker.compose.project={self.app}"]
        container = subprocess.check_output(found, text=True).split()[0]
        return subprocess.check_output(["docker", "exec", container, *argv], text=True)


@pytest.fixture(scope="module", params=KINDS)
def far(
    request: pytest.FixtureRequest, s3: S3Server, sftp: SftpServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Far]:
    kind, keys = request.param, tmp_path_factory.mktemp("far")
    identity = pyrage.x25519.Identity.generate()
    opens = keys / "key.txt"
    opens.touch(mode=0o600)
    settings = {
        "OFFSITE_AGE_RECIPIENTS": str(identity.to_public()),
        "OFFSITE_AGE_IDENTITY_FILE": str(opens),
        "PARALLEL_BACKUP_ABOVE_MB": "0",
        **_place(kind, s3, sftp, keys),
    }
    with ExitStack() as running:
        server = running.enter_context(started_server(**settings))
        made = Far(server, named(f"far-{kind}"), named(f"other-{kind}"), opens, identity)
        make_app(server, made.app, compose=WITH_DATA, command=KEEPS)
        make_app(server, made.other)
        for app in (made.app, made.other):
            server.do("db.create", {"appName": app})
        made.put(ROWS)
        server.do("deploy.up", made.args)
        for name in (f"{made.app}.sql", f"{made.app}.sql.zst"):
            assert server.do("db.backup", {**made.args, "backupName": name})["offsiteVerifiedAt"]
            made.names.append(name)
        whole = server.do("backup.create", {**made.args, "backupName": f"{made.app}.backup"})
        assert whole["message"].endswith("Its copy off this machine is verified.")
        made.names.append(f"{made.app}.backup")
        yield made


def _place(kind: str, s3: S3Server, sftp: SftpServer, keys: Path) -> dict[str, str]:
    name = secrets.token_hex(6)
    if kind == "s3":
        address = {"OFFSITE_URL": f"s3://ready/far/{name}", "OFFSITE_S3_ENDPOINT": s3.endpoint}
        return {**address, "OFFSITE_S3_KEY_ID": "writer", "OFFSITE_S3_SECRET": SECRET}
    folder = (sftp.root if kind == "sftp" else keys) / name
    folder.mkdir()
    if kind == "file":
        return {"OFFSITE_URL": f"file://{folder}"}
    return {
        "OFFSITE_URL": f"sftp://root@127.0.0.1:{sftp.port}{folder}",
        "OFFSITE_SSH_KEY": str(sftp.folder / "id"),
        "OFFSITE_KNOWN_HOSTS": str(sftp.folder / "known_hosts"),
    }


def test_without_the_key_that_opens_it_every_call_says_so_and_changes_nothing(far: Far) -> None:
    far.lose()
    before = far.count()
    dump, packed, whole = far.names
    calls: list[tuple[str, dict[str, Any]]] = [
        *((call, {"backupName": name}) for call in _TAKES_ANY for name in far.names),
        ("db.restore", {"backupName": packed, "plan": True}),
        ("db.restore", {"backupName": dump, "tables": ["t"]}),
        ("db.restore", {"backupName": whole, "as": far.other}),
        ("apps.restore", {"backupName": whole}),
        ("apps.restore", {"backupName": whole, "plan": True}),
    ]
    far.give_key(pyrage.x25519.Identity.generate())
    for capability, more in calls:
        refused = far.server.call(capability, {**far.args, **more})
        assert (refused.status, refused.code) == (409, "offsite_sealed"), (capability, more, refused.body)
        assert str(far.opens) in refused.body["error"]
        assert refused.body["hint"]
    assert far.count() == before
    left = [path.name for path in far.server.backups.iterdir() if path.name.startswith((".", far.app))]
    assert left == []
    far.give_key(far.identity)


@pytest.mark.parametrize("which", [0, 1, 2], ids=["text", "packed", "whole"])
def test_a_database_comes_back_whole_in_part_and_to_another_app(far: Far, which: int) -> None:
    asked = {**far.args, "backupName": far.names[which]}
    far.lose()
    far.put("DELETE FROM t WHERE n > 3; DELETE FROM u")
    planned = far.server.do("db.restore", {**asked, "plan": True})["tables"]
    assert {item["name"]: (item["now"], item["backup"]) for item in planned} == {"t": (3, 500), "u": (0, 1)}
    far.lose()
    far.server.do("db.restore", {**asked, "tables": ["t"]})
    assert far.count() == 500
    assert far.server.do("db.query", {**far.args, "sql": "SELECT count(*) FROM u"})["rows"] == [[0]]
    far.put("DELETE FROM t WHERE n > 4")
    far.lose()
    far.server.do("db.restore", asked)
    assert far.count() == 500
    far.server.do("db.restore", {**far.args, "undo": True})
    assert far.count() == 4
    far.lose()
    far.server.do("db.restore", {**asked, "as": far.other})
    assert (far.count(far.other), far.count()) == (500, 4)
    far.server.do("db.restore", asked)


def test_each_is_proven_and_fetched(far: Far) -> None:
    for name in far.names:
        asked = {**far.args, "backupName": name}
        far.lose()
        proven = far.server.do("backup.verify", asked)["backups"][0]
        assert (proven["proven"], proven["places"]) == (True, ["here", "off-site"])
        far.lose()
        offered = far.server.do("backup.download", asked)
        status, _, body = get(far.server, offered["path"])
        assert (status, len(body)) == (200, offered["size"])
        if name.endswith(".backup"):
            with tarfile.open(fileobj=io.BytesIO(body)) as archive:
                assert f"{name}/manifest.json" in archive.getnames()


def test_a_whole_app_comes_back(far: Far) -> None:
    asked = {**far.args, "backupName": far.names[2]}
    far.put("DELETE FROM t")
    far.run_in_app("sh", "-c", "echo spoilt > /data/note")
    far.lose()
    far.server.do("apps.restore", asked)
    assert (far.count(), far.run_in_app("cat", "/data/note")) == (500, "first\n")
