"""Parts that IKOMA stands on are away or full: an answer with a hint, in time, and nothing half-done."""

from __future__ import annotations

import json
import socket
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.apps import make_app
from tests.faults.server_observations import Background, fill, named, small_disk, timed
from tests.rollouts.self_killing_server import COMMAND
from tests.support import Answer, Server, eventually, free_port
from tests.support import server as started_server

IN_TIME = 60.0
"""Seconds; much longer than any answer takes, and shorter than what waits for nobody."""


def promptly(server: Server, capability: str, arguments: dict[str, object]) -> Answer:
    answers: list[Answer] = []
    seconds = timed(lambda: answers.append(server.call(capability, arguments)))
    assert seconds < IN_TIME, f"{capability} took {seconds:.1f} s"
    return answers[0]


def unavailable(answer: Answer, code: str) -> bool:
    return (answer.status, answer.code) == (503, code) and bool(answer.body["hint"])


# --- Docker ------------------------------------------------------------------------------------------------


def test_without_docker_what_needs_it_says_so() -> None:
    with started_server(DOCKER_HOST="unix:///nonexistent.sock") as server:
        checks = promptly(server, "platform.check", {}).result["checks"]
        assert checks == {"docker": False, "postgres": True, "appsRoot": True}
        make_app(server, "fault-undocked")
        app = {"appName": "fault-undocked"}
        for capability in ("deploy.up", "deploy.down", "apps.status", "apps.health"):
            assert unavailable(promptly(server, capability, app), "docker_unavailable"), capability
        server.do("db.create", app)
        server.do("db.backup", app)
        assert server.get("/health").body["status"] == "degraded"


# --- PostgreSQL --------------------------------------------------------------------------------------------


@pytest.fixture(params=["refuses", "hangs"])
def absent_postgres(request: pytest.FixtureRequest) -> Iterator[int]:
    """A port where PostgreSQL should be: nobody listens there, or somebody who never answers."""
    if request.param == "refuses":
        yield free_port()
        return
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yield silent.getsockname()[1]


def test_without_postgres_what_needs_it_says_so_and_apps_go_down_and_up(absent_postgres: int) -> None:
    settings = {"POSTGRES_HOST": "127.0.0.1", "POSTGRES_PORT": str(absent_postgres), "POSTGRES_PASSWORD": "not-there"}
    with started_server(**settings) as server:
        checks = promptly(server, "platform.check", {}).result["checks"]
        assert checks == {"docker": True, "postgres": False, "appsRoot": True}
        make_app(server, named("bereft"))
        app = {"appName": named("bereft")}
        server.do("deploy.up", app)
        assert promptly(server, "apps.status", app).result["health"] == "healthy"
        for capability in ("db.create", "db.status"):
            assert unavailable(promptly(server, capability, app), "postgres_unavailable"), capability
        assert server.do("deploy.down", app)["success"] is True
        assert "not-there" not in server.log() + server.audit_log.read_text()


# --- the audit log -----------------------------------------------------------------------------------------


def test_folders_that_a_setting_names_are_made_with_those_above_them() -> None:
    with tempfile.TemporaryDirectory() as folder:
        deep = Path(folder) / "not" / "there" / "yet"
        with started_server(AUDIT_LOG=str(deep / "audit.jsonl")) as server:
            server.do("apps.init", {"appName": "deep"})
            assert server.do("audit.verify")["valid"]
            assert (deep / "audit.jsonl").is_file()


def test_with_the_audit_log_on_a_full_disk_nothing_is_changed_and_reads_go_on() -> None:
    with started_server(AUDIT_LOG="/dev/full") as server:
        refused = server.call("apps.init", {"appName": "fault-unseen"})
        assert unavailable(refused, "audit_unavailable")
        assert not (server.apps / "fault-unseen").exists()
        assert server.do("platform.check")["healthy"] is True
        assert server.do("apps.list")["apps"] == []
        assert server.get("/health").body["status"] == "healthy"


def test_the_audit_log_is_whole_again_when_its_disk_has_space_again() -> None:
    with tempfile.TemporaryDirectory() as place, small_disk(Path(place) / "disk", "64k") as disk:
        log = disk / "audit.jsonl"
        with started_server(AUDIT_LOG=str(log)) as server:
            server.do("apps.init", {"appName": "fault-before"})  # so that the log has a block that is not full yet
            filler = fill(disk)
            names = iter(f"fault-full-{number}" for number in range(1000))
            refused = next(name for name in names if server.call("apps.init", {"appName": name}).status == 503)
            assert not (server.apps / refused).exists()
            assert server.call("db.create", {"appName": refused}).code == "audit_unavailable"
            assert server.do("platform.info")["version"]
            filler.unlink()
            server.do("apps.init", {"appName": refused})
            entries = [json.loads(line) for line in log.read_text().splitlines()]
            mine = [entry["result"] for entry in entries if entry["arguments"].get("appName") == refused]
            assert mine[-2:] == ["started", "success"]
            told = [entry["arguments"] for entry in entries if entry["code"] == "audit_lost"]
            assert sum(item["count"] for item in told) >= 3
            assert "platform.info success" in {kind for item in told for kind in item["kinds"]}
            verdict = server.do("audit.verify")
            assert (verdict["valid"], verdict["lost"]) == (True, sum(item["count"] for item in told))


# --- backups -----------------------------------------------------------------------------------------------


def test_a_disk_that_fills_during_a_backup_leaves_no_file_and_harms_none() -> None:
    with (
        tempfile.TemporaryDirectory() as place,
        small_disk(Path(place) / "disk", "4m") as disk,
        started_server(BACKUPS_ROOT=str(disk)) as server,
    ):
        app = {"appName": "fault-brim"}
        make_app(server, "fault-brim")
        server.do("db.create", app)
        small = server.do("db.backup", {**app, "backupName": "small.sql"})
        kept = Path(small["backupPath"]).read_bytes()
        rows = "CREATE TABLE t AS SELECT repeat(md5(n::text), 10) AS text FROM generate_series(1, 100000) n"
        server.do("db.migrate", {**app, "sql": rows})
        before = sorted(path.name for path in disk.iterdir())
        refused = server.call("db.backup", {**app, "backupName": "large.sql"})
        assert refused.code in ("disk_full", "backup_failed")
        assert refused.body["hint"]
        assert sorted(path.name for path in disk.iterdir()) == before
        assert server.call("db.backup", {**app, "backupName": "small.sql"}).code == "backup_exists"
        assert Path(small["backupPath"]).read_bytes() == kept
        server.do("db.migrate", {**app, "sql": "TRUNCATE t"})
        assert server.do("db.backup", {**app, "backupName": "large.sql"})["tables"] == {"t": 0}


def test_a_disk_that_fills_during_a_restore_leaves_the_database_as_it_was() -> None:
    with tempfile.TemporaryDirectory() as place, small_disk(Path(place) / "disk", "900m") as disk:
        Path(place).chmod(0o711)  # PostgreSQL's own user passes through
        with started_server(command=COMMAND, IKOMA_STATE=str(disk / "state")) as server:
            app = {"appName": "fault-cramped"}
            make_app(server, app["appName"])
            server.do("db.create", app)
            rows = "CREATE TABLE t AS SELECT repeat(md5(n::text), 10) AS word FROM generate_series(1, 200000) n"
            server.do("db.migrate", {**app, "sql": rows})
            made = server.do("db.backup", {**app, "backupName": "cramped.sql"})
            restore = {**app, "backupName": "cramped.sql"}
            server.do("db.seed", {**app, "sql": "TRUNCATE t; INSERT INTO t VALUES ('since')"})

            filler = fill(disk, leaving=300 << 20)
            assert made["size"] * 2 < 300 << 20 < made["size"] * 2 + (256 << 20)
            refused = promptly(server, "db.restore", restore)
            assert (refused.code, "MiB are free" in refused.body["error"]) == ("disk_full", True)
            filler.unlink()

            def held() -> object:
                found = server.call("db.query", {**app, "sql": "SELECT count(*), min(word) FROM t"})
                return found.result["rows"] if found.status == 200 else found.code

            steps = disk / "state" / "steps"
            one_table = {**restore, "tables": ["t"]}
            for call_of_it, step in ((restore, "made beside"), (one_table, "backed up")):
                (disk / "state" / "wait-at").write_text(step)
                call = Background(server, "db.restore", call_of_it)
                eventually(partial(_is_at, steps, step), "it begins to write the rows", 120)
                filler = fill(disk)
                (disk / "state" / "wait-at").unlink()
                answer = call.wait()
                assert answer is not None
                assert answer.status >= 500
                assert answer.body["hint"]
                filler.unlink()
                eventually(lambda: held() == [[1, "since"]], "the database is as it was", 120)
            assert server.do("db.restore", one_table)["details"]["rows"] == {"t": 200_000}
            server.do("db.seed", {**app, "sql": "TRUNCATE t"})
            assert server.do("db.restore", restore)["details"]["rows"] == {"t": 200_000}


def _is_at(steps: Path, step: str) -> bool:
    return steps.exists() and steps.read_text().split("\n")[-2:-1] == [step]
