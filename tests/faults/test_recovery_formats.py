"""A burned-down server comes back from dumps of the newer forms: of several workers, and packed."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyrage
import pytest

from ikoma.apps.backups.folder import read_manifest
from tests.apps import make_app
from tests.faults.server_observations import named
from tests.faults.test_bringing_back import TABLES
from tests.faults.test_recovery import Burned
from tests.leftovers import remove_projects
from tests.support import Server, make_server, remove

pytestmark = pytest.mark.timeout(900)  # the first of them makes two apps, three backups, and a new server
WHOLE, OTHER = named("workers"), named("target")
PACKED = f"{WHOLE}-a.sql.zst"
DIGEST = "SELECT count(*), md5(string_agg(t::text, ',' ORDER BY id)) FROM t"


@pytest.fixture(scope="module")
def burned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Burned]:
    """Two apps whose whole backups several workers wrote, and a packed dump; the machine is gone."""
    folder = tmp_path_factory.mktemp("formats")
    identity, sealed = pyrage.x25519.Identity.generate(), folder / "sealed"
    sealed.mkdir()
    opens = folder / "age.txt"
    opens.write_text(f"{identity}\n")
    opens.chmod(0o600)
    server = make_server(
        PARALLEL_BACKUP_ABOVE_MB="0",
        OFFSITE_URL=f"file://{sealed}",
        OFFSITE_AGE_RECIPIENTS=str(identity.to_public()),
        OFFSITE_AGE_IDENTITY_FILE=str(opens),
    )
    found = Burned(server, folder / "store", sealed, opens)
    try:
        server.start()
        for name in (WHOLE, OTHER):
            app = make_app(server, name)
            server.do("db.create", {"appName": name})
            (app / "migrations" / "001_t.sql").write_text(TABLES)
            server.do("deploy.up", {"appName": name})
        server.do("db.seed", {"appName": OTHER, "sql": "DELETE FROM t WHERE id > 7"})
        server.do("db.backup", {"appName": WHOLE, "backupName": PACKED})
        (server.apps / WHOLE / "migrations" / "002_u.sql").write_text("CREATE TABLE u (); DELETE FROM t WHERE id > 400")
        server.do("deploy.up", {"appName": WHOLE})
        _forget_dump_of_deploy(server)
        found.facts = {name: ask(server, name) for name in (WHOLE, OTHER)}
        for name in (WHOLE, OTHER, "ikoma"):
            server.do("backup.create", {"appName": name})
        shutil.copytree(server.backups, found.store)
        burn(found)
        yield found
    finally:
        (Path(server.env["IKOMA_STATE"]) / "recovery.json").unlink(missing_ok=True)
        remove(server)


def _forget_dump_of_deploy(server: Server) -> None:
    """Leave a rollback the packed one alone."""
    for item in server.do("backup.list", {"appName": WHOLE})["backups"]:
        if item["name"] != PACKED:
            server.do("backup.delete", {"appName": WHOLE, "backupName": item["name"]})


def burn(found: Burned) -> None:
    if found.server.process is not None:
        found.server.stop(signal.SIGINT)
    remove_projects({WHOLE, OTHER})
    found.burn()


def ask(server: Server, app: str, sql: str = DIGEST) -> Any:
    return server.do("db.query", {"appName": app, "sql": sql})["rows"][0]


def newest(folder: Path, app: str) -> Path:
    return max(folder.glob(f"{app}-*.backup"), key=lambda path: read_manifest(path).backup.created_at)


def test_dumps_of_several_workers_come_back_whole(burned: Burned) -> None:
    server = burned.server
    kept = newest(burned.store, WHOLE)
    assert "database/toc.dat" in json.loads((kept / "manifest.json").read_text())["manifest"]["files"]
    done = burned.recover("--from", str(burned.store))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rows: " in done.stdout
    server.start()
    assert {name: ask(server, name) for name in (WHOLE, OTHER)} == burned.facts
    server.do("db.migrate", {"appName": WHOLE, "sql": "ALTER TABLE t ADD COLUMN ours int"})  # it is its owner
    asked = {"appName": WHOLE, "backupName": kept.name}
    assert server.do("backup.verify", asked)["backups"][0]["proven"]
    server.do("db.restore", {**asked, "as": OTHER})
    assert ask(server, OTHER) == burned.facts[WHOLE]
    server.do("db.restore", {"appName": OTHER, "undo": True})
    assert ask(server, OTHER) == burned.facts[OTHER]


def test_a_packed_dump_of_before_takes_a_release_back_on_the_new_server(burned: Burned) -> None:
    """The dump is only off the machine until the call that needs it."""
    server = burned.server
    burn(burned)
    done = burned.recover("--from", f"file://{burned.sealed}", "--identity", str(burned.identity))
    assert done.returncode == 0, done.stdout + done.stderr
    server.start()
    assert ask(server, WHOLE) == burned.facts[WHOLE]
    listed = {item["name"]: item["places"] for item in server.do("backup.list", {"appName": WHOLE})["backups"]}
    assert listed[PACKED] == ["off-site"]
    packed = {"appName": WHOLE, "backupName": PACKED}
    server.do("db.restore", {**packed, "tables": ["t"]})
    assert ask(server, WHOLE)[0] == 500
    server.do("db.seed", {"appName": WHOLE, "sql": "DELETE FROM t"})
    server.do("deploy.rollback", {"appName": WHOLE, "database": True})
    assert ask(server, WHOLE)[0] == 500
    assert ask(server, WHOLE, "SELECT to_regclass('u')::text") == [None]
