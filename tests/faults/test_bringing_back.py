"""A removed app and an earlier database come back whole, or not at all: whatever the backup, and after `kill -9`."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from ikoma.apps.signing import BackupKey
from tests.apps import COMPOSE, make_app
from tests.faults.server_observations import Background, half_written, named, postgres_port, postmaster
from tests.rollouts.self_killing_server import COMMAND
from tests.support import Server, eventually
from tests.support import server as started_server

APP, OTHER = named("back"), named("beside")
AT_ONCE = "interval: 1s\n      start_period: 1s\n      start_interval: 0.2s"
"""Times of a healthcheck: what comes up is found healthy at once."""
WITH_DATA = COMPOSE.replace("interval: 1s", AT_ONCE).replace('["./src:/www:ro"]', '["./src:/www:ro", "data:/data"]')
WITH_DATA += "volumes:\n  data: {{}}\n"
KEEPS = '["sh", "-c", "[ -e /data/note ] || echo first > /data/note; exec httpd -f -p 3000 -h /www"]'
TABLES = """CREATE TABLE t (id int PRIMARY KEY, word text);
INSERT INTO t SELECT n, md5(n::text) FROM generate_series(1, 500) n;"""
RESTORE_STEPS = ("noted", "made beside", "filled", "swapped")
UNDO_STEPS = ("noted", "swapped")
RETURN_STEPS = ("noted", "volume", "database", "prepared", "moved", "settled")


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


def query(server: Server, sql: str, app: str = APP) -> Any:
    return server.do("db.query", {"appName": app, "sql": sql})["rows"]


def put(server: Server, sql: str) -> None:
    server.do("db.seed", {"appName": APP, "sql": sql})


def digest(server: Server, app: str = APP) -> Any:
    return query(server, "SELECT count(*), md5(string_agg(t::text, ',' ORDER BY id)) FROM t", app)[0]


def note_of(name: str = APP) -> str:
    """The content of the file that the app keeps in its volume."""
    found = subprocess.check_output(["docker", "ps", "--quiet", "--filter", f"label=com.docker.compose.project={name}"])
    return subprocess.check_output(["docker", "exec", found.split()[0].decode(), "cat", "/data/note"], text=True)


def make_backed_up_app(server: Server, app: str, tables: str, *, dump: str, whole: str) -> None:
    """Deploy an app with rows and data, and make a backup of its database and one of the whole, by these names."""
    folder = make_app(server, app, compose=WITH_DATA, command=KEEPS)
    server.do("db.create", {"appName": app})
    (folder / "migrations" / "001_t.sql").write_text(tables)
    server.do("deploy.up", {"appName": app})
    server.do("db.backup", {"appName": app, "backupName": dump})
    server.do("backup.create", {"appName": app, "backupName": whole})


def databases(server: Server) -> list[str]:
    password = (Path(server.env["IKOMA_STATE"]) / "postgres" / "password").read_text().strip()
    port = postgres_port(server)
    with psycopg.connect(host="127.0.0.1", port=port, user="ikoma", password=password, dbname="postgres") as connection:
        return [str(row[0]) for row in connection.execute("SELECT datname FROM pg_database ORDER BY 1").fetchall()]


def passing(server: Server) -> list[str]:
    return [name for name in databases(server) if name.startswith(("ikoma-beside", "ikoma-foreign", "ikoma-stand-in"))]


def state(server: Server, name: str) -> Path:
    return Path(server.env["IKOMA_STATE"]) / name


def killed(server: Server, capability: str, arguments: dict[str, Any], step: str) -> None:
    """Have the server die at a step of a call, and start it again."""
    state(server, "kill-at").write_text(step)
    call = Background(server, capability, arguments)
    assert server.process is not None
    server.process.wait(timeout=120)
    server.process = None
    assert call.wait() is None
    server.start()


def healthy(server: Server, name: str = APP) -> bool:
    return bool(server.do("apps.health", {"appName": name})["health"] == "healthy")


def backup(server: Server, name: str) -> str:
    return Path(server.do("db.backup", {"appName": APP, "backupName": name})["backupPath"]).name


# --- the database --------------------------------------------------------------------------------------------


def test_rows_that_were_deleted_come_back_and_the_undo_takes_them_away_again(
    server: Server, app: dict[str, str]
) -> None:
    made = backup(server, f"{APP}-whole.sql")
    before = digest(server)
    put(server, "DELETE FROM t WHERE id > 100; CREATE TABLE later (id int); INSERT INTO later VALUES (1)")
    after = digest(server)
    plan = server.do("db.restore", {**app, "backupName": made, "plan": True})
    assert {item["name"]: (item["now"], item["backup"]) for item in plan["tables"]} == {
        "later": (1, None),
        "t": (100, 500),
    }
    assert [line.split(":")[0] for line in plan["details"]["lost"]] == ["later"]
    assert digest(server) == after
    done = server.do("db.restore", {**app, "backupName": made})["details"]
    assert done["rows"] == {"t": 500}
    assert done["waitedMs"] < 30_000
    assert digest(server) == before
    eventually(lambda: healthy(server), "the app is well with it")
    copy = server.do("db.status", app)["undo"]
    assert copy["before"] == f"{made} was restored"
    assert copy["until"] > copy["replacedAt"]
    server.do("db.restore", {**app, "undo": True})
    assert digest(server) == after
    assert query(server, "SELECT count(*) FROM later") == [[1]]
    server.do("db.restore", {**app, "undo": True})
    assert digest(server) == before
    assert passing(server) == []
    asked = server.call("db.restore", {**app, "backupName": made}, headers={"X-Confirm": "ask"})
    assert asked.code == "confirmation_needed", "the copy of before would go"
    assert "a restore was undone" in json.dumps(asked.body)


def test_a_copy_that_migrations_are_tried_on_goes_with_its_server(server: Server, app: dict[str, str]) -> None:
    trying = Background(server, "db.migrate", {**app, "sql": "SELECT pg_sleep(600)", "dryRun": True})
    eventually(lambda: "pg_sleep" in _at_work(server), "the copy is changed", 120)
    assert len(passing(server)) == 1
    server.kill(signal.SIGKILL)
    assert trying.wait() is None
    server.start()
    left = server.apps / APP / ".ikoma" / "rehearsal.sql"
    eventually(lambda: passing(server) == [] and not left.exists(), "the copy is gone", 120)


def _at_work(server: Server) -> str:
    """The statements that run in copies."""
    running = "SELECT query FROM pg_stat_activity WHERE datname LIKE 'ikoma-stand-in%' AND state = 'active'"
    return str(query(server, running))


def test_a_backup_goes_into_another_app(server: Server, app: dict[str, str]) -> None:
    made = backup(server, f"{APP}-other.sql")
    make_app(server, OTHER)
    into = {**app, "backupName": made, "as": OTHER}
    assert server.call("db.restore", into).code == "database_missing"
    server.do("db.create", {"appName": OTHER})
    server.do("db.restore", into)
    assert digest(server, OTHER) == digest(server)
    assert passing(server) == []
    key = server.do("keys.create", {"name": "narrow", "role": "builder", "apps": [APP]})["key"]
    assert server.call("db.restore", into, key=key).status == 403
    foreign = server.call("db.restore", {"appName": OTHER, "backupName": made})
    assert foreign.code == "backup_foreign"
    server.do("apps.remove", {"appName": OTHER})


BAD: list[tuple[dict[str, Any], int, str]] = [
    ({"backupName": "../x.sql"}, 422, "invalid_arguments"),
    ({"backupName": "/etc/passwd"}, 422, "invalid_arguments"),
    ({}, 422, "invalid_arguments"),
    ({"undo": True, "backupName": "a.sql"}, 422, "invalid_arguments"),
    ({"undo": True, "plan": True}, 422, "invalid_arguments"),
    ({"time": "2026-01-01T00:00:00Z"}, 409, "point_in_time_off"),
    ({"time": "yesterday"}, 422, "invalid_arguments"),
    ({"backupName": "none.sql"}, 404, "backup_missing"),
    ({"backupName": "bare.sql"}, 409, "backup_foreign"),
    ({"backupName": "link.sql"}, 404, "backup_missing"),
    ({"backupName": "cut.sql"}, 409, "backup_damaged"),
    ({"backupName": "edited.sql"}, 409, "backup_damaged"),
    ({"backupName": "shell.sql"}, 409, "backup_foreign"),
    ({"backupName": "program.sql"}, 409, "backup_damaged"),
    ({"backupName": "unread.sql"}, 409, "backup_damaged"),
    ({"backupName": "rows.sql"}, 409, "backup_unproven"),
    ({"backupName": "foreign.sql"}, 409, "backup_foreign"),
    ({"backupName": "later.sql"}, 409, "backup_foreign"),
    ({"backupName": "renamed.sql"}, 409, "backup_damaged"),
    ({"backupName": "claimed.sql"}, 409, "backup_damaged"),
    ({"backupName": "unsigned.sql"}, 409, "backup_foreign"),
    ({"backupName": "stranger.sql"}, 409, "backup_foreign"),
]


@pytest.fixture(scope="module")
def bad_files(server: Server, app: dict[str, str]) -> Path:
    """Backups that are none, each in its way."""
    text = Path(server.do("db.backup", {**app, "backupName": "good.sql"})["backupPath"])
    root, whole = text.parent, text.read_bytes()
    manifest = (root / "good.sql.json").read_bytes()
    hurt = state(server, "hurt")

    def write(name: str, content: bytes, record: bytes | None = manifest) -> None:
        (root / f"{name}.sql").write_bytes(content)
        if record is not None:
            (root / f"{name}.sql.json").write_bytes(record)

    told = json.loads(manifest)["manifest"]
    key = BackupKey(Path(server.env["IKOMA_STATE"]) / "backups.key")

    def sign(name: str, content: bytes, by: BackupKey = key, **changed: object) -> None:
        """As this server would have signed it."""
        facts = {"name": f"{name}.sql", "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        write(name, content, by.write_signed(told | facts | changed))

    program = f"COPY (SELECT 1) TO PROGRAM 'touch {hurt}';\nBEGIN;".encode()
    later = whole.replace(b" of PostgreSQL 18, ", b" of PostgreSQL 99, ", 1)
    assert later != whole
    write("bare", whole, None)
    (root / "link.sql").symlink_to(text)
    sign("cut", whole[: len(whole) // 2])
    sign("edited", whole.replace(b"CREATE TABLE", b"CREATE tABLE", 1), sha256=told["sha256"])
    sign("swapped", whole + b"-- of another moment\n", sha256=told["sha256"])
    sign("shell", f"\\! touch {hurt}\n".encode() + whole)
    sign("program", whole.replace(b"BEGIN;", program, 1), sha256=told["sha256"])
    write("unread", whole, b'{"app": "')
    sign("rows", whole, tables={"t": 7})
    sign("foreign", whole.replace(f"the database {APP} of".encode(), b"the database someone of", 1))
    sign("later", later)
    write("renamed", whole)
    write("claimed", whole, json.dumps(json.loads(manifest) | {"manifest": told | {"name": "claimed.sql"}}).encode())
    write("unsigned", whole, json.dumps(told | {"name": "unsigned.sql"}).encode())
    sign("stranger", whole, by=BackupKey(Path(server.env["IKOMA_STATE"]) / "stranger.key"))
    return hurt


@pytest.mark.parametrize(("arguments", "status", "code"), BAD, ids=lambda value: json.dumps(value)[:40])
def test_what_is_no_backup_changes_nothing(
    server: Server, app: dict[str, str], bad_files: Path, arguments: dict[str, Any], status: int, code: str
) -> None:
    before, there = digest(server), databases(server)
    refused = server.call("db.restore", {**app, **arguments})
    assert (refused.status, refused.code) == (status, code), refused.body
    assert refused.body["hint"]
    assert (digest(server), databases(server)) == (before, there)
    assert not bad_files.exists()
    assert not (server.apps / APP / ".ikoma" / "restoring.json").exists()


@pytest.mark.parametrize(
    ("capability", "name", "status", "code"),
    [
        ("db.backup", "../up.sql", 422, "invalid_arguments"),
        ("db.backup", "/tmp/there.sql", 422, "invalid_arguments"),
        ("db.backup", "a/b.sql", 422, "invalid_arguments"),
        ("db.backup", ".hidden.sql", 422, "invalid_arguments"),
        ("db.backup", "good.sql", 409, "backup_exists"),
        ("db.backup", "link.sql", 409, "backup_exists"),
        ("backup.create", "../up.backup", 422, "invalid_arguments"),
        ("backup.create", "taken.backup", 409, "backup_exists"),
        ("backup.verify", "../good.sql", 422, "invalid_arguments"),
        ("backup.verify", "edited.sql", 409, "backup_damaged"),
        ("backup.verify", "swapped.sql", 409, "backup_damaged"),
        ("backup.verify", "renamed.sql", 409, "backup_damaged"),
        ("backup.verify", "stranger.sql", 409, "backup_foreign"),
        ("backup.delete", "../good.sql", 422, "invalid_arguments"),
        ("backup.download", "../good.sql", 422, "invalid_arguments"),
        ("backup.download", "unsigned.sql", 409, "backup_foreign"),
    ],
)
def test_what_no_backup_can_be_called_or_is_changes_no_file(
    server: Server, app: dict[str, str], bad_files: Path, capability: str, name: str, status: int, code: str
) -> None:
    (server.backups / "taken.backup").mkdir(exist_ok=True)
    before, there = stamps(server.backups), databases(server)
    refused = server.call(capability, {**app, "backupName": name})
    assert (refused.status, refused.code) == (status, code), refused.body
    assert refused.body["hint"]
    assert (stamps(server.backups), databases(server)) == (before, there)


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of each file."""
    return {path.name: (path.lstat().st_size, path.lstat().st_mtime_ns) for path in folder.iterdir()}


def test_the_record_of_an_earlier_version_is_signed_where_the_journal_knows_its_dump(
    server: Server, app: dict[str, str]
) -> None:
    made = Path(server.do("db.backup", {**app, "backupName": "former.sql"})["backupPath"])
    record = made.with_name("former.sql.json")
    told = json.loads(record.read_text())["manifest"]
    (made.parent / "planted.sql").write_bytes(made.read_bytes() + b"SELECT 1;\n")
    (made.parent / "planted.sql.json").write_text(json.dumps(told | {"name": "planted.sql"}))
    record.write_text(json.dumps(told | {"tables": {"t": 1}}))
    call = {**app, "backupName": "former.sql"}
    assert server.call("db.restore", call).code == "backup_foreign"
    assert server.call("backup.verify", call).code == "backup_foreign"
    server.kill()
    server.start()
    verified = server.do("backup.verify", call)["backups"][0]
    assert verified["proven"]
    plan = server.do("db.restore", {**call, "plan": True})
    assert [item["backup"] for item in plan["tables"]] == [told["tables"]["t"]], "the rows that the journal knows"
    assert server.call("db.restore", {**call, "backupName": "planted.sql"}).code == "backup_foreign"
    listed = [item["name"] for item in server.do("backup.list", app)["backups"]]
    assert "former.sql" in listed
    assert "planted.sql" not in listed


@pytest.mark.parametrize("step", RESTORE_STEPS)
def test_a_server_killed_in_a_restore_has_the_one_database_or_the_other(
    server: Server, app: dict[str, str], step: str
) -> None:
    made = backup(server, f"{APP}-at-{step.replace(' ', '-')}.sql")
    then = digest(server)
    put(server, f"INSERT INTO t VALUES ({1000 + RESTORE_STEPS.index(step)}, 'since')")
    since = digest(server)
    killed(server, "db.restore", {**app, "backupName": made}, step)
    assert digest(server) == (then if step == "swapped" else since)
    said = f"the restore of {made} was " + ("done" if step == "swapped" else "cut off")
    eventually(lambda: said in server.log(), "the next start says how it ended")
    eventually(lambda: passing(server) == [], "nothing is left over")
    eventually(lambda: healthy(server), "the app is well")
    if step == "swapped":
        server.do("db.restore", {**app, "undo": True})
        assert digest(server) == since
    assert half_written(server) == []


@pytest.mark.parametrize("step", UNDO_STEPS)
def test_a_server_killed_in_an_undo_has_the_one_database_or_the_other(
    server: Server, app: dict[str, str], step: str
) -> None:
    made = backup(server, f"{APP}-undo-{step}.sql")
    restored = digest(server)
    put(server, f"INSERT INTO t VALUES ({2000 + UNDO_STEPS.index(step)}, 'since')")
    since = digest(server)
    server.do("db.restore", {**app, "backupName": made})
    killed(server, "db.restore", {**app, "undo": True}, step)
    assert digest(server) == (since if step == "swapped" else restored)


def test_a_postgresql_that_ends_in_between_leaves_the_database_as_it_was(server: Server, app: dict[str, str]) -> None:
    made = backup(server, f"{APP}-away.sql")
    put(server, "INSERT INTO t VALUES (3000, 'since')")
    since = digest(server)
    state(server, "wait-at").write_text("filled")
    call = Background(server, "db.restore", {**app, "backupName": made})
    eventually(lambda: state(server, "steps").read_text().split("\n")[-2:-1] == ["filled"], "it is filled")
    ended: psutil.Process = postmaster(server)
    ended.send_signal(signal.SIGKILL)
    state(server, "wait-at").unlink()
    answer = call.wait()
    assert answer is not None
    assert answer.status in (200, 503)
    if answer.status == 503:
        eventually(lambda: server.call("db.status", app).status == 200, "PostgreSQL is started again")
        assert digest(server) == since
    eventually(lambda: healthy(server), "the app is well")


# --- the app -------------------------------------------------------------------------------------------------


def seen(server: Server) -> tuple[Any, ...]:
    status = server.do("apps.status", {"appName": APP})
    releases = [item["id"] for item in server.do("release.list", {"appName": APP})["releases"]]
    password = json.loads((server.apps / APP / ".ikoma" / "database.json").read_text())["password"]
    return digest(server), note_of(), status["release"], releases, password


def test_an_app_comes_back_as_it_was(server: Server, app: dict[str, str]) -> None:
    server.do("policy.waive", {**app, "rule": "capabilities", "reason": "a test", "expires": "2027-01-01T00:00:00Z"})
    eventually(lambda: healthy(server), "the app is up")
    before = seen(server)
    removed = server.do("apps.remove", app)
    assert "apps.restore" in removed["message"]
    gone = server.call("apps.status", app)
    assert "apps.restore" in gone.body["hint"]
    back = server.do("apps.restore", app)
    assert back["details"]["release"] == before[2]
    assert healthy(server)
    assert seen(server) == before
    assert APP not in [entry["app"] for entry in server.do("trash.list", {})["entries"]]
    waived = server.do("apps.validate", app)
    assert "capabilities" in json.dumps(waived)
    assert server.call("apps.restore", app).code == "trash_entry_missing"


def test_an_app_that_was_down_stays_down(server: Server, app: dict[str, str]) -> None:
    server.do("deploy.down", app)
    server.do("apps.remove", app)
    assert server.do("apps.restore", app)["details"]["release"] is None
    assert server.do("apps.status", app)["health"] == "stopped"
    server.do("deploy.restart", app)
    assert note_of() == "first\n"


@pytest.mark.parametrize("step", RETURN_STEPS)
def test_a_server_killed_while_an_app_comes_back_goes_on_after_the_next_start(
    server: Server, app: dict[str, str], step: str
) -> None:
    before = seen(server)
    server.do("apps.remove", app)
    killed(server, "apps.restore", app, step)
    eventually(lambda: server.call("apps.health", app).body.get("result", {}).get("health") == "healthy", "it is back")
    eventually(lambda: [e for e in server.do("trash.list", {})["entries"] if e["app"] == APP] == [], "its entry went")
    assert seen(server) == before
    assert half_written(server) == []


def test_a_name_that_is_taken_again_is_kept_and_the_app_comes_back_under_another(
    server: Server, app: dict[str, str]
) -> None:
    before, aside = digest(server), f"{APP}-2"
    entry = Path(server.do("apps.remove", app)["details"]["trash"])
    kept = sorted(str(path) for path in entry.rglob("*"))
    make_app(server, APP)
    taken = server.call("apps.restore", app)
    assert (taken.code, "`as`" in taken.body["hint"]) == ("app_name_taken", True)
    assert server.do("apps.status", app)["health"] == "stopped", "it is the new one"
    server.do("db.create", app)
    subprocess.run(["docker", "volume", "create", f"{aside}_data"], check=True, capture_output=True)
    try:
        assert server.call("apps.restore", {**app, "as": aside}).code == "app_name_taken"
    finally:
        subprocess.run(["docker", "volume", "rm", f"{aside}_data"], check=True, capture_output=True)
    assert sorted(str(path) for path in entry.rglob("*")) == kept
    for wrong in ({"id": "x"}, {"id": "../x"}, {"as": "Shop"}, {"as": f"{APP}--x"}, {"id": f"no-{entry.name}"}):
        assert server.call("apps.restore", {**app, **wrong}).status in (404, 409, 422)
    assert server.call("apps.restore", {"appName": "never-there"}).code == "trash_entry_missing"
    server.do("apps.restore", {**app, "as": aside})
    assert digest(server, aside) == before
    server.do("deploy.up", {"appName": aside})
    assert note_of(aside) == "first\n"
    assert passing(server) == []
    server.do("apps.remove", {"appName": aside})
    server.do("apps.remove", app)


def test_what_cannot_be_loaded_leaves_the_entry_whole(server: Server) -> None:
    name = named("spoilt")
    folder = make_app(server, name)
    server.do("db.create", {"appName": name})
    server.do("db.migrate", {"appName": name, "sql": "CREATE TABLE t AS SELECT 1 AS id"})
    (folder / "kept").write_text("kept")
    entry = Path(server.do("apps.remove", {"appName": name})["details"]["trash"])
    whole = (entry / "database.sql").read_bytes()
    (entry / "database.sql").write_bytes(whole[: len(whole) // 2])
    refused = server.call("apps.restore", {"appName": name})
    assert refused.code == "backup_damaged"
    assert not (server.apps / name).exists()
    assert name not in databases(server)
    (entry / "database.sql").write_bytes(whole)
    server.do("apps.restore", {"appName": name})
    assert (server.apps / name / "kept").read_text() == "kept"
    assert query(server, "SELECT id FROM t", name) == [[1]]


def test_an_entry_is_deleted_by_a_person_or_by_its_age(server: Server) -> None:
    name = named("old")
    made = []
    for _ in range(2):
        make_app(server, name)
        made.append(Path(server.do("apps.remove", {"appName": name})["details"]["trash"]))
    by_hand, by_age = made
    asked = server.call("trash.delete", {"id": by_hand.name}, headers={"X-Confirm": "ask"})
    assert asked.code == "confirmation_needed"
    assert server.call("trash.delete", {"id": "../../etc"}).code == "trash_entry_missing"
    assert server.do("trash.delete", {"id": by_hand.name})["freed"] > 0
    assert not by_hand.exists()
    (by_age / "restoring.json").write_text(json.dumps({"app": name, "start": False}))
    assert server.call("trash.delete", {"id": by_age.name}).code == "trash_entry_busy"
    (by_age / "restoring.json").unlink()
    told = json.loads((by_age / "removed.json").read_text())
    (by_age / "removed.json").write_text(json.dumps(told | {"removedAt": "2026-01-01T00:00:00Z"}))
    server.stop()
    server.start()
    eventually(lambda: not by_age.exists(), "its time is over")

    def written() -> list[str]:
        by_itself = (
            line for line in server.audit() if line["capability"] == "trash.delete" and line["caller"] == "ikoma"
        )
        return [line["result"] for line in by_itself]

    eventually(lambda: written() == ["started", "success"], "the deletion stands in the audit log")
