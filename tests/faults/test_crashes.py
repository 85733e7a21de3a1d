"""The server is killed in the middle of its work; after the next start it is as if the call had never begun."""

from __future__ import annotations

import hashlib
import itertools
import json
import signal
import subprocess
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.apps import COMPOSE, make_app
from tests.faults.server_observations import (
    alive,
    half_written,
    kill_during,
    moments,
    named,
    postmaster,
    processes_of,
    shortest,
    timed,
    tools_of,
)
from tests.images import busybox_image
from tests.support import Server, eventually

DEPLOYED = named("deploy")
FIVE = ["first", "second", "third", "fourth", "fifth"]
SLOW_START = "[sh, -c, 'sleep 1; exec httpd -f -p 3000 -h /www']"
STEPS = 60
LONG_MIGRATION = "\n".join(
    f"CREATE TABLE step_{n} (id int PRIMARY KEY); INSERT INTO step_{n} VALUES ({n}); SELECT pg_sleep(0.02);"
    for n in range(STEPS)
)
MUCH_DATA = (
    "CREATE TABLE much (id int PRIMARY KEY, text text);"
    "INSERT INTO much SELECT n, repeat(md5(n::text), 8) FROM generate_series(1, 600000) n;"
)


def write_compose(folder: Path, version: str) -> None:
    """The app's compose file, changed enough that its container must be made anew."""
    text = COMPOSE.format(image=busybox_image(), command=SLOW_START, health="/ok")
    (folder / "docker-compose.yml").write_text(
        text.replace("    restart:", f"    environment: {{VERSION: '{version}'}}\n    restart:")
    )


@pytest.fixture(scope="package")
def deployed(shared: Server) -> float:
    """An app that is up; how many seconds its redeploy takes."""
    folder = make_app(shared, DEPLOYED)
    write_compose(folder, "0")
    shared.do("deploy.up", {"appName": DEPLOYED})

    def redeploy(version: str) -> None:
        write_compose(folder, version)
        shared.do("deploy.up", {"appName": DEPLOYED})

    return shortest(partial(redeploy, version) for version in "12")


def change(server: Server, versions: list[str], what: str) -> dict[str, Any]:
    """Write a version that was not deployed yet, and note it; the call that deploys it."""
    versions.append(f"{what}, number {len(versions)}")
    write_compose(server.apps / DEPLOYED, versions[-1])
    return {"appName": DEPLOYED}


@pytest.mark.parametrize("moment", moments("deploy.up"), ids=FIVE)
def test_a_server_killed_during_a_deploy_deploys_after_the_next_start(
    server: Server, deployed: float, moment: float
) -> None:
    versions: list[str] = []
    work = partial(change, server, versions, f"at {moment}")
    app = kill_during(server, "deploy.up", work, after=moment * deployed)
    assert half_written(server) == []
    result = server.do("deploy.up", app)
    status = server.do("apps.status", app)
    assert (status["health"], status["release"]) == ("healthy", result["details"]["release"])
    assert running_versions(DEPLOYED) == versions[-1:]
    assert release_states(server.apps / DEPLOYED) <= {"succeeded", "failed"}
    assert tools_of(server) == []


@pytest.mark.parametrize("moment", moments("deploy.up, aborted", 2), ids=FIVE[:2])
def test_what_a_server_that_aborts_leaves_of_a_deploy_is_finished_or_undone_at_the_next_start(
    server: Server, deployed: float, moment: float
) -> None:
    versions = running_versions(DEPLOYED)
    work = partial(change, server, versions, f"aborted at {moment}")
    app = kill_during(server, "deploy.up", work, after=moment * deployed, how=signal.SIGABRT)
    eventually(lambda: "started" not in release_states(server.apps / DEPLOYED), "each release has come to its end")
    eventually(lambda: len(running_versions(DEPLOYED)) == 1, "one container runs")
    serving = server.do("apps.status", app)["release"]
    record = json.loads((server.apps / DEPLOYED / ".ikoma" / "releases" / serving / "release.json").read_text())
    assert (record["state"], running_versions(DEPLOYED)[0] in versions[-2:]) == ("succeeded", True)
    assert half_written(server) == []
    eventually(lambda: server.do("apps.health", app)["health"] == "healthy", "what serves is healthy")


@pytest.fixture(scope="package")
def migrated(shared: Server) -> float:
    """An app with a database; how many seconds the long migration takes in it."""
    make_app(shared, "fault-migrate")
    shared.do("db.create", {"appName": "fault-migrate"})
    drops = "\n".join(f"DROP TABLE step_{n};" for n in range(STEPS))
    call = {"appName": "fault-migrate", "sql": LONG_MIGRATION + drops}
    return timed(lambda: shared.do("db.migrate", call))


@pytest.mark.parametrize("moment", moments("db.migrate"), ids=FIVE)
def test_a_server_killed_during_a_migration_leaves_no_half_of_it(
    server: Server, migrated: float, moment: float
) -> None:
    app = {"appName": "fault-migrate"}
    names = (f"killed_at_{round(moment * 1000)}_{attempt}" for attempt in itertools.count(1))

    def write() -> dict[str, str]:
        name = next(names)
        migration = LONG_MIGRATION.replace("step_", f"{name}_")
        (server.apps / "fault-migrate" / "migrations" / f"{name}.sql").write_text(migration)
        return {**app, "file": f"{name}.sql"}

    call = kill_during(server, "db.migrate", write, after=moment * migrated)
    name = call["file"].removesuffix(".sql")
    status = server.do("db.status", app)
    assert f"{name}.sql" in status["migrations"]["pending"]
    assert not [table for table in status["tables"] if table.startswith(name)]
    assert server.do("db.migrate", call)["applied"] == [f"{name}.sql"]
    status = server.do("db.status", app)
    assert f"{name}.sql" in status["migrations"]["applied"]
    assert len([table for table in status["tables"] if table.startswith(name)]) == STEPS


@pytest.fixture(scope="package")
def filled(shared: Server) -> float:
    """An app with much in its database; how many seconds its backup takes."""
    make_app(shared, "fault-backup")
    shared.do("db.create", {"appName": "fault-backup"})
    shared.do("db.migrate", {"appName": "fault-backup", "sql": MUCH_DATA})
    calls = [{"appName": "fault-backup", "backupName": f"whole-{number}.sql"} for number in range(3)]
    return shortest(partial(shared.do, "db.backup", call) for call in calls)


@pytest.mark.parametrize("moment", moments("db.backup"), ids=FIVE)
def test_a_server_killed_during_a_backup_leaves_no_part_of_one(server: Server, filled: float, moment: float) -> None:
    names = (f"killed-at-{round(moment * 1000)}-{attempt}.sql" for attempt in itertools.count(1))
    call = kill_during(
        server, "db.backup", lambda: {"appName": "fault-backup", "backupName": next(names)}, after=moment * filled
    )
    assert half_written(server) == []
    assert sorted(path.name for path in server.backups.glob(f"{call['backupName']}*")) == []
    made = server.do("db.backup", call)
    assert made["tables"]["much"] == 600_000
    content = Path(made["backupPath"]).read_bytes()
    assert (len(content), hashlib.sha256(content).hexdigest()) == (made["size"], made["sha256"])
    assert content.endswith(b"COMMIT;\n\\endif\n")  # the last line of a backup: it is whole
    for path in server.backups.glob("killed-*"):
        path.unlink()


def test_postgres_outlives_a_killed_server_and_the_next_start_takes_it_over(server: Server) -> None:
    before = postmaster(server)
    server.kill()
    assert alive(before)
    server.start()
    assert postmaster(server) == before
    assert server.do("platform.check")["checks"]["postgres"] is True


def test_a_killed_postgres_comes_back_and_the_server_lives_on(server: Server) -> None:
    assert server.process is not None
    pid = server.process.pid
    before = postmaster(server)
    before.kill()

    def back() -> bool:
        with suppress(FileNotFoundError, psutil.NoSuchProcess):  # none runs at this moment
            return postmaster(server) != before and server.do("platform.check")["checks"]["postgres"]
        return False

    eventually(back, "another PostgreSQL runs, and platform.check says so")
    assert (server.process.pid, server.process.poll()) == (pid, None)


def test_a_start_on_the_ruins_of_a_killed_server_and_a_killed_postgres_works(server: Server) -> None:
    before = postmaster(server)
    server.kill()
    before.kill()
    server.start()
    assert server.do("platform.check")["checks"] == {"docker": True, "postgres": True, "appsRoot": True}


def test_sigterm_ends_everything_and_leaves_the_apps_running(server: Server, deployed: float) -> None:
    assert server.process is not None
    mine = [psutil.Process(server.process.pid), *processes_of(server)]
    assert postmaster(server) in mine
    assert server.stop() == 0
    assert [process for process in mine if alive(process)] == []
    assert processes_of(server) == []
    assert len(running_versions(DEPLOYED)) == 1
    server.start()


def running_versions(project: str) -> list[str]:
    """VERSION of each of a project's containers that run."""
    listed = ["docker", "ps", "-q", "--filter", f"label=com.docker.compose.project={project}"]
    found = []
    for container in subprocess.check_output(listed, text=True).split():
        inspected = json.loads(subprocess.check_output(["docker", "inspect", container], text=True))
        variables = dict(item.split("=", 1) for item in inspected[0]["Config"]["Env"])
        found.append(variables["VERSION"])
    return found


def release_states(folder: Path) -> set[str]:
    return {json.loads(path.read_text())["state"] for path in folder.glob(".ikoma/releases/*/release.json")}
