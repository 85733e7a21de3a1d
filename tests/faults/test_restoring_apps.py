"""A whole app comes back to a backup: database, volume and folder together, or all as before, after `kill -9` too."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.apps import make_app
from tests.faults.server_observations import Background, half_written, moments, named
from tests.faults.test_bringing_back import KEEPS, TABLES, WITH_DATA, databases, killed, note_of, passing, state
from tests.rollouts.self_killing_server import COMMAND
from tests.support import Server, eventually
from tests.support import server as started_server

APP = named("whole-back")
STEPS = (
    *("whole: noted", "whole: stopped", "whole: backed up", "whole: database", "whole: volume removed"),
    *("whole: volume", "whole: unpacked", "whole: moved aside", "whole: folder"),
)
BACKUP = f"{APP}-good.backup"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One that can be told to die."""
    with started_server(command=COMMAND) as started:
        yield started


@pytest.fixture(scope="module")
def given(server: Server) -> dict[str, Any]:
    """The call that takes the app back to a backup of all of it."""
    folder = make_app(server, APP, compose=WITH_DATA, command=KEEPS)
    server.do("db.create", {"appName": APP})
    (folder / "migrations" / "001_t.sql").write_text(TABLES)
    (folder / "uploads").mkdir()
    (folder / "uploads" / "picture").write_text("good")
    (folder / "uploads" / "link").symlink_to("picture")
    (folder / "uploads" / "picture").chmod(0o640)
    server.do("deploy.up", {"appName": APP})
    server.do("backup.create", {"appName": APP, "backupName": BACKUP})
    return {"appName": APP, "backupName": BACKUP}


def spoil(server: Server, word: str) -> None:
    """Change all three parts."""
    server.do("db.seed", {"appName": APP, "sql": f"DELETE FROM t WHERE id > 100; UPDATE t SET word = '{word}'"})
    folder = server.apps / APP / "uploads"
    (folder / "picture").write_text(word)
    (folder / word).write_text("since")
    identity = subprocess.check_output(
        ["docker", "ps", "--quiet", "--filter", f"label=com.docker.compose.project={APP}"], text=True
    ).split()[0]
    subprocess.run(["docker", "exec", identity, "sh", "-c", f"echo {word} > /data/note"], check=True)


def look(server: Server) -> tuple[Any, ...]:
    """The state of all three parts, as the app has them."""
    sql = "SELECT count(*), md5(string_agg(t::text, ',' ORDER BY id)) FROM t"
    rows = server.do("db.query", {"appName": APP, "sql": sql})["rows"][0]
    folder = server.apps / APP / "uploads"
    files = sorted((path.name, path.lstat().st_mode, path.read_text()) for path in folder.iterdir())
    return rows, note_of(APP), files


def healthy(server: Server) -> bool:
    answer = server.call("apps.health", {"appName": APP})
    return bool(answer.body.get("result", {}).get("health") == "healthy")


def settled(server: Server) -> bool:
    return not (server.apps / APP / ".ikoma" / "restoring-app.json").exists() and healthy(server)


def leftovers(server: Server) -> list[Any]:
    found: list[Any] = [*(server.apps / APP / ".ikoma").glob("restored-folder-*"), *half_written(server)]
    found += [name for name in passing(server) if name in databases(server)]
    return found + [path for path in server.backups.iterdir() if path.name.startswith(".ikoma-backup")]


def test_an_app_goes_back_to_a_backup_and_forward_again(server: Server, given: dict[str, Any]) -> None:
    eventually(lambda: healthy(server), "it is up")
    good = look(server)
    spoil(server, "spoilt")
    bad = look(server)
    plan = server.do("apps.restore", {**given, "plan": True})
    assert "t: 100 rows now" not in plan["message"], "the backup has more"
    assert plan["details"]["tables"] == {"t": 500}
    assert look(server) == bad
    asked = server.call("apps.restore", given, headers={"X-Confirm": "ask"})
    assert asked.code == "confirmation_needed"
    assert "in a backup that is made before" in json.dumps(asked.body)
    done = server.do("apps.restore", given)
    eventually(lambda: healthy(server), "it is up")
    assert look(server) == good
    assert done["details"]["release"] == server.do("apps.status", {"appName": APP})["release"]
    assert done["details"]["volumes"] == [f"{APP}_data"]
    server.do("apps.restore", {"appName": APP, "backupName": done["details"]["before"]})
    eventually(lambda: healthy(server), "it is up")
    assert look(server) == bad
    assert leftovers(server) == []


def test_what_cannot_be_restored_stops_nothing(server: Server, given: dict[str, Any]) -> None:
    before, started = look(server), server.do("apps.status", {"appName": APP})["services"]
    for wrong, code in (
        ({"backupName": "no.backup"}, "backup_missing"),
        ({"backupName": "../x.backup"}, "invalid_arguments"),
        ({"as": "other"}, "invalid_arguments"),
        ({"backupName": "x.sql"}, "invalid_arguments"),
    ):
        assert server.call("apps.restore", {**given, **wrong}).code == code
    place = server.backups / BACKUP
    for name in ("folder.tar", f"volumes/{APP}_data.tar", "database.sql"):
        whole = (place / name).read_bytes()
        for content in (whole[: len(whole) // 2], whole[:-1] + b"x", b""):
            (place / name).write_bytes(content)
            refused = server.call("apps.restore", given)
            assert (refused.code, bool(refused.body["hint"])) == ("backup_damaged", True)
        (place / name).write_bytes(whole)
    manifest = (place / "manifest.json").read_bytes()
    for old, new in ((b'"entries": 1', b'"entries": 2'), (b'"key": "', b'"key": "00')):
        assert old in manifest
        (place / "manifest.json").write_bytes(manifest.replace(old, new, 1))
        assert server.call("apps.restore", given).code in ("backup_damaged", "backup_foreign")
    (place / "manifest.json").write_bytes(manifest)
    assert look(server) == before
    assert server.do("apps.status", {"appName": APP})["services"] == started


def test_a_part_that_fails_takes_the_app_back(server: Server, given: dict[str, Any]) -> None:
    spoil(server, "failing")
    bad = look(server)
    volume = server.backups / BACKUP / "volumes" / f"{APP}_data.tar"
    whole = volume.read_bytes()
    state(server, "wait-at").write_text("whole: backed up")
    call = Background(server, "apps.restore", given)
    eventually(lambda: state(server, "steps").read_text().split("\n")[-2:-1] == ["whole: backed up"], "it is")
    volume.write_bytes(whole[:700])  # the disk has lost it meanwhile
    state(server, "wait-at").unlink()
    answer = call.wait(300)
    volume.write_bytes(whole)
    assert answer is not None
    assert not answer.body["success"]
    assert "is as it was before" in answer.body["error"]
    eventually(lambda: settled(server), "it is up")
    assert look(server) == bad
    assert leftovers(server) == []


@pytest.mark.timeout(900)
def test_a_killed_server_goes_on_after_the_next_start(server: Server, given: dict[str, Any]) -> None:
    server.do("apps.restore", given)
    eventually(lambda: settled(server), "it is up")
    good, counts = look(server), {"gone back": 0, "as before": 0}

    def settle(bad: tuple[Any, ...]) -> None:
        eventually(lambda: settled(server), "it is up, with nothing to go on with", 180)
        found = look(server)
        assert found in (good, bad), "all three parts, or none"
        counts["gone back" if found == good else "as before"] += 1
        eventually(lambda: leftovers(server) == [], "nothing is left over")

    for number, step in enumerate(STEPS):
        spoil(server, f"step{number}")
        bad = look(server)
        killed(server, "apps.restore", given, step)
        settle(bad)
        assert look(server) == good, "a restore that was begun is ended"
    spoil(server, "timed")
    began = time.monotonic()
    server.do("apps.restore", given)
    whole = time.monotonic() - began
    for moment in moments("whole", 4):
        spoil(server, f"moment{int(moment * 1000)}")
        bad = look(server)
        call = Background(server, "apps.restore", given)
        time.sleep(moment * whole)
        server.kill()
        call.wait()
        server.start()
        settle(bad)
    print(f"\napps.restore of a backup, killed {sum(counts.values())} times: {counts}")
    kept = {path.name for path in Path(server.backups).glob("*.backup")}
    assert BACKUP in kept
