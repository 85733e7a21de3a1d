"""PostgreSQL stopped, restarted in the middle, without connections: told with a hint, nothing lost, then done."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.faults.own_postgres import OwnPostgres, own_postgres
from tests.faults.server_observations import Background, half_written, list_proof_volumes, named
from tests.faults.test_bringing_back import make_backed_up_app
from tests.support import Answer, Server, eventually
from tests.support import server as started_server

APP = named("parted")
DUMP, WHOLE = f"{APP}-kept.sql", f"{APP}-kept.backup"
# Loading its rows takes a while wherever a copy is made, so that something can happen meanwhile.
TABLES = """CREATE FUNCTION in_order(n int) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN
IF current_database() LIKE 'ikoma-%' THEN PERFORM pg_sleep(0.005); END IF; RETURN true; END$$;
CREATE TABLE t (id int PRIMARY KEY CHECK (in_order(id)), word text);
INSERT INTO t SELECT n, md5(n::text) FROM generate_series(1, 400) n;"""
CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "db.backup": ("db.backup", {}),
    "backup.create": ("backup.create", {}),
    "db.restore": ("db.restore", {"backupName": DUMP}),
    "tables": ("db.restore", {"backupName": DUMP, "tables": ["t"]}),
    "whole": ("db.restore", {"backupName": WHOLE}),
    "verify a dump": ("backup.verify", {"backupName": DUMP}),
    "verify a backup": ("backup.verify", {"backupName": WHOLE}),
    "dry run": ("db.migrate", {"sql": "CREATE TABLE tried (n int)", "dryRun": True}),
    "apps.restore": ("apps.restore", {"backupName": WHOLE}),
}


@pytest.fixture(scope="module")
def postgres() -> Iterator[OwnPostgres]:
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o711)  # PostgreSQL's own user passes through
        with own_postgres(Path(place)) as running:
            yield running


@pytest.fixture(scope="module")
def server(postgres: OwnPostgres) -> Iterator[Server]:
    """One whose whole backups are made and restored by several workers."""
    with started_server(PARALLEL_BACKUP_ABOVE_MB="0", POINT_IN_TIME="true", **postgres.settings) as started:
        make_backed_up_app(started, APP, TABLES, dump=DUMP, whole=WHOLE)
        yield started


def call(server: Server, name: str) -> Answer:
    capability, arguments = CALLS[name]
    return server.call(capability, {"appName": APP, **arguments})


def look(server: Server, postgres: OwnPostgres) -> tuple[Any, ...]:
    """Rows and files of the app, past IKOMA, and whether it serves."""
    rows = postgres.ask("SELECT count(*), md5(string_agg(t::text, ',' ORDER BY id)) FROM t", APP)
    files = sorted(path.name for path in (server.apps / APP).iterdir())
    eventually(lambda: is_healthy(server), "the app serves")
    return rows, files, server.do("apps.status", {"appName": APP})["release"]


def is_healthy(server: Server) -> bool:
    return bool(server.call("apps.health", {"appName": APP}).body.get("result", {}).get("health") == "healthy")


def names(server: Server) -> set[str]:
    return {item["name"] for item in server.do("backup.list", {"appName": APP})["backups"]}


def spoil(server: Server, word: str) -> None:
    server.do("db.seed", {"appName": APP, "sql": f"UPDATE t SET word = '{word}' WHERE id > 100"})


def require_told(answer: Answer | None, name: str) -> None:
    assert answer is not None, name
    assert (answer.status, answer.code) == (503, "postgres_unavailable"), (name, answer.body)
    assert answer.body["hint"], name


def require_clean(server: Server, postgres: OwnPostgres) -> None:
    assert postgres.list_passing() == []
    assert half_written(server) == []
    assert list_proof_volumes([APP]) == []
    assert not [path for path in server.backups.iterdir() if path.name.startswith(".ikoma-backup")]
    left = ("restoring.json", "restoring.sql", "restoring-app.json", "rehearsal.sql")
    assert not [name for name in left if (server.apps / APP / ".ikoma" / name).exists()]


def restore_all(server: Server, postgres: OwnPostgres) -> None:
    """Ask again for all that has failed: it is done, and nothing of the failure is left."""
    for name in CALLS:
        answer = call(server, name)
        assert answer.status == 200, (name, answer.body)
        if name == "dry run":
            assert "went well" in answer.body["result"]["message"], answer.body
    require_clean(server, postgres)


@pytest.mark.parametrize("how", ["stopped", "used up"])
def test_what_needs_it_says_so_and_is_done_once_it_is_back(server: Server, postgres: OwnPostgres, how: str) -> None:
    spoil(server, how)
    before, known = look(server, postgres), names(server)
    calls = {**CALLS, "apps.remove": ("apps.remove", {}), "plan": ("db.restore", {"backupName": DUMP, "plan": True})}

    def ask_all() -> None:
        for name, (capability, arguments) in calls.items():
            answer = server.call(capability, {"appName": APP, **arguments})
            require_told(answer, name)
            assert ("max_connections" in answer.body["hint"]) == (how == "used up"), (name, answer.body)
        assert run_nightly(server)["outcome"] == "failed"

    server.do("schedules.set", {"appName": APP, "name": "nightly", "cron": "0 3 * * *"})
    if how == "used up":
        with postgres.used_up():
            ask_all()
    else:
        postgres.stop()
        ask_all()
        postgres.start()
    assert (look(server, postgres), names(server)) == (before, known)
    assert run_nightly(server)["outcome"] == "succeeded"
    restore_all(server, postgres)
    whole = look(server, postgres)
    server.do("apps.remove", {"appName": APP})
    if how == "used up":
        with postgres.used_up():
            require_told(server.call("apps.restore", {"appName": APP}), "out of the trash")
    else:
        postgres.stop()
        require_told(server.call("apps.restore", {"appName": APP}), "out of the trash")
        postgres.start()
    assert not (server.apps / APP).exists()
    server.do("apps.restore", {"appName": APP})
    assert look(server, postgres) == whole


def run_nightly(server: Server) -> dict[str, Any]:
    operation = server.do("schedules.run", {"appName": APP, "name": "nightly"})["operationId"]
    found: list[dict[str, Any]] = []

    def has_ended() -> bool:
        [schedule] = server.do("schedules.list", {"appName": APP})["schedules"]
        found[:] = [
            run
            for run in schedule["recent"]
            if run["operationId"] == operation and run["outcome"] not in ("asked", "running")
        ]
        return bool(found)

    eventually(has_ended, "the run has ended")
    return found[0]


@pytest.mark.parametrize("name", CALLS)
def test_a_restart_in_the_middle_costs_the_call_and_nothing_else(
    server: Server, postgres: OwnPostgres, name: str
) -> None:
    spoil(server, f"restarted in {name}")
    before, known = look(server, postgres), names(server)
    capability, arguments = CALLS[name]
    under_way = Background(server, capability, {"appName": APP, **arguments})
    eventually(partial(is_copied, postgres), "rows are copied")
    postgres.restart()
    answer = under_way.wait()
    require_told(answer, name)
    assert answer is not None
    assert look(server, postgres) == before
    made = names(server) - known
    assert len(made) <= 1
    assert all(item in answer.body["error"] or name == "apps.restore" for item in made), answer.body
    again = call(server, name)
    assert again.status == 200, again.body
    call(server, "db.backup")
    call(server, "db.restore")
    require_clean(server, postgres)


def is_copied(postgres: OwnPostgres) -> bool:
    """Whether a copy of the database is being filled."""
    return bool(
        postgres.ask("SELECT 1 FROM pg_stat_activity WHERE datname LIKE 'ikoma-%' AND wait_event = 'PgSleep' LIMIT 1")
    )


@pytest.mark.parametrize("leaving", [0, 1, 2, 3])
def test_with_few_connections_left_a_call_is_done_or_says_so(
    server: Server, postgres: OwnPostgres, leaving: int
) -> None:
    """None left from the middle on; or so few that some of what a call does finds one, and some does not."""
    for name, (capability, arguments) in CALLS.items():
        spoil(server, f"{leaving} left for {name}")
        before, known = look(server, postgres), names(server)
        if leaving == 0:
            under_way = Background(server, capability, {"appName": APP, **arguments})
            eventually(partial(is_copied, postgres), "rows are copied")
            with postgres.used_up():
                answer = under_way.wait()
            assert answer is not None
        else:
            with postgres.used_up(leaving=leaving):
                answer = call(server, name)
        print(f"{leaving} left: {name} {answer.status}")
        if answer.status != 200:
            require_told(answer, name)
            assert look(server, postgres) == before, name
            assert len(names(server) - known) <= 1, name
        elif name == "dry run":
            assert "went well" in answer.body["result"]["message"], answer.body
        elif name in ("db.restore", "tables", "whole", "apps.restore"):
            assert look(server, postgres)[0] != before[0], name
    restore_all(server, postgres)


def test_a_time_is_gone_back_to_once_it_is_there_again(server: Server, postgres: OwnPostgres) -> None:
    def is_open() -> bool:
        window = server.do("db.status", {"appName": APP})["pointInTime"]
        return window["problem"] is None and window["since"] <= datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    eventually(is_open, "there is a base backup, and the archive goes on")
    rows = look(server, postgres)[0]
    back = {"appName": APP, "time": datetime.now(UTC).isoformat()}
    spoil(server, "since")
    since = look(server, postgres)
    with postgres.used_up():
        require_told(server.call("db.restore", back), "time")
    postgres.stop()
    require_told(server.call("db.restore", back), "time")
    assert server.call("platform.check").status == 200
    postgres.start()
    assert look(server, postgres) == since
    eventually(is_open, "the archive goes on")
    under_way = Background(server, "db.restore", back)
    eventually(partial(is_copied, postgres), "rows are copied")
    postgres.restart()
    require_told(under_way.wait(), "time")
    assert look(server, postgres) == since
    eventually(is_open, "the archive goes on")
    server.do("db.restore", back)
    assert look(server, postgres)[0] == rows
    recovered = Path(server.env["IKOMA_STATE"]) / "postgres" / "recovered"
    assert not recovered.exists() or json.dumps(sorted(map(str, recovered.iterdir()))) == "[]"
    require_clean(server, postgres)
