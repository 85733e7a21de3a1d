"""A Compose project that runs here is taken over whole, or runs on as before: after a failure, and after `kill -9`."""

from __future__ import annotations

import json
import shlex
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.server_observations import Background, named
from tests.images import busybox_image, postgres_image
from tests.leftovers import remove_projects
from tests.rollouts.self_killing_server import COMMAND
from tests.support import Server, eventually
from tests.support import server as started_server

OLD, APP, ROWS = named("old"), named("taken"), 137
DIGEST = "SELECT count(*), md5(string_agg(word, '' ORDER BY id)) FROM orders"
FREE = "18473"
ENV = """# kept as it is
GREETING='it costs $5 # really'
EMPTY=
TOKEN="two words"
PGPASS=s3cret=and/more
"""
COMPOSE = """# what a person wrote
services:
  web:
    image: {web}
    container_name: {old}-front
    command: ["sh", "-c", "env > /data/env; date > /up/started; exec httpd -f -p 3000 -h /www"]
    ports: ["{port}:3000"]
    environment:
      GREETING: ${{GREETING}}
      DATABASE_URL: postgres://postgres:${{PGPASS}}@db/postgres
      DB_HOST: db
    volumes:
      - ./site:/www:ro
      - files:/up
      - ./data:/data
      - {socket}:/var/run/docker.sock
    healthcheck:
      test: [CMD, wget, -q, --spider, "http://127.0.0.1:3000/ok"]
      interval: 1s
      retries: 3
    restart: unless-stopped
    depends_on: [db]
    init: true
  db:
    image: {db}
    environment:
      POSTGRES_PASSWORD: ${{PGPASS}}
    volumes: ["rows:/rows"]
volumes:
  files: {{}}
  rows: {{}}
x-ikoma:
  service: web
  port: 3000
  health: /ok
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One that can be told to die."""
    with started_server(command=COMMAND) as started:
        yield started


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a project that runs: a page, a volume, a folder of data, rows of its own."""
    made = tmp_path_factory.mktemp("people") / OLD
    for part in ("site", "data"):
        (made / part).mkdir(parents=True)
    (made / "site" / "ok").write_text("ok\n")
    (made / "data" / "owned").write_text("by somebody\n")
    (made / "data" / "owned").chmod(0o640)
    subprocess.run(["chown", "1234:2345", str(made / "data" / "owned")], check=True)
    (made / ".env").write_text(ENV)
    socket = made.parent / "docker.sock"
    socket.touch()  # a file of that name is refused as the socket itself is
    text = COMPOSE.format(web=busybox_image(), db=postgres_image(), old=OLD, port=FREE, socket=socket)
    (made / "docker-compose.yml").write_text(text)
    compose(made, "up", "-d")
    # Afterwards: not every machine that tests run on lets a container be privileged.
    (made / "docker-compose.yml").write_text(text.replace("    command", "    privileged: true\n    command", 1))
    eventually(lambda: sql("SELECT 1") == "1", "its database answers")
    sql(f"CREATE TABLE orders AS SELECT n AS id, md5(n::text) AS word FROM generate_series(1, {ROWS}) n")
    run("exec", f"{OLD}-front", "sh", "-c", "head -c 300000 /dev/urandom > /up/bytes")
    yield made
    remove_projects([OLD, APP])


def compose(folder: Path, *words: str) -> None:
    program = Path(sys.executable).with_name("docker-compose")
    done = subprocess.run([program, "-p", OLD, *words], cwd=folder, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def run(*words: str) -> str:
    return subprocess.check_output(["docker", *words], text=True).strip()


def sql(statement: str) -> str:
    argv = ["docker", "exec", f"{OLD}-db-1", "psql", "-h", "/tmp", "-v", "ON_ERROR_STOP=1", "-qAtX", "-c", statement]
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip()


def begun_at() -> list[str]:
    """When the old containers were started: they were never stopped where this is the same."""
    return [run("inspect", "-f", "{{.State.StartedAt}} {{.State.Running}} {{.State.Paused}}", name) for name in names()]


def names() -> list[str]:
    return [f"{OLD}-front", f"{OLD}-db-1"]


def sum_of(container: str, path: str) -> str:
    return run("exec", container, "md5sum", path).split()[0]


def nothing_is_left(server: Server) -> bool:
    label = f"label=com.docker.compose.project={APP}"
    found = [run(*what, "-q", "--filter", label) for what in (("ps", "-a"), ("volume", "ls"), ("network", "ls"))]
    return not (server.apps / APP).exists() and not any(found)


def plan(server: Server, **more: Any) -> dict[str, Any]:
    given = {"appName": APP, "source": OLD, "plan": True, **more}
    result: dict[str, Any] = server.do("apps.import", given)
    return result


def test_the_plan_shows_what_becomes_of_all_of_it_and_changes_nothing(server: Server, folder: Path) -> None:
    before = begun_at()
    shown = plan(server, database=True)
    told = shown["details"]
    assert told["left"] == [], told
    assert told["folder"] == str(folder)
    assert {item["name"] for item in told["services"]} == {"web", "db"}
    assert [(item["old"], item["new"]) for item in told["volumes"]] == [(f"{OLD}_files", f"{APP}_files")]
    assert told["volumes"][0]["size"] >= 300_000
    assert told["folders"] == ["data"]
    assert told["variables"] == ["EMPTY", "GREETING", "PGPASS", "TOKEN"]
    assert told["ports"] == [FREE]
    assert set(told["stopped"]) == set(names())
    [file] = told["files"]
    removed = [line[1:].strip() for line in file["diff"].splitlines() if line.startswith("-") and line[1] != "-"]
    assert "privileged: true" in removed
    assert f"- {folder.parent}/docker.sock:/var/run/docker.sock" in removed
    assert f"container_name: {OLD}-front" in removed
    assert "image: ikoma-test-postgres:18" in removed
    assert "s3cret" not in json.dumps(shown)
    assert any("privileged" in line for line in told["changes"])
    assert begun_at() == before
    assert not (server.apps / APP).exists()


def test_its_own_migrations_are_not_applied_to_the_rows_that_are_moved(server: Server, folder: Path) -> None:
    (folder / "migrations").mkdir()
    (folder / "migrations" / "001_init.sql").write_text("DROP TABLE IF EXISTS orders; CREATE TABLE orders (id int);\n")
    try:
        [first] = plan(server, database=True)["details"]["left"]
        assert first.startswith("A deploy here would apply migrations/001_init.sql to the moved database")
        refused = server.call("apps.import", {"appName": APP, "source": OLD, "database": True})
        assert refused.code == "not_importable"
        assert plan(server)["details"]["left"] == []
    finally:
        (folder / "migrations" / "001_init.sql").unlink()
        (folder / "migrations").rmdir()
    assert nothing_is_left(server)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"source": "nobody-has-this"}, "project_not_found"),
    ({"source": "/nowhere/at/all"}, "project_not_found"),
    ({"source": "/etc"}, "project_not_found"),
    ({"appName": OLD}, "not_importable"),
    ({"seen": "0" * 64}, "file_changed"),
    ({"appName": "a--b"}, "invalid_arguments"),
]


@pytest.mark.parametrize(
    ("more", "code"), BAD, ids=["nobody", "nowhere", "system", "its-own-name", "not-seen", "preview"]
)
def test_what_cannot_be_taken_over_is_refused(server: Server, folder: Path, more: dict[str, Any], code: str) -> None:
    before = begun_at()
    assert server.call("apps.import", {"appName": APP, "source": OLD, **more}).code == code
    assert begun_at() == before
    assert nothing_is_left(server)


def test_a_new_one_that_is_unhealthy_never_stops_the_old_one(server: Server, folder: Path) -> None:
    before = begun_at()
    (folder / "site" / "ok").rename(folder / "site" / "later")
    try:
        refused = server.call("apps.import", {"appName": APP, "source": OLD, "timeout": 20})
    finally:
        (folder / "site" / "later").rename(folder / "site" / "ok")
    assert refused.code == "deploy_failed"
    assert f"{OLD} runs as before" in refused.body["error"]
    assert begun_at() == before
    assert nothing_is_left(server)


@pytest.mark.parametrize("step", ["import paused", "import stopped", "import moved"])
def test_after_a_kill_the_old_one_serves_as_before(server: Server, folder: Path, step: str) -> None:
    before = begun_at()
    state = Path(server.env["IKOMA_STATE"])
    (state / "kill-at").write_text(step)
    call = Background(server, "apps.import", {"appName": APP, "source": OLD, "database": True})
    assert server.process is not None
    server.process.wait(timeout=120)
    server.process = None
    assert call.wait() is None
    server.start()
    eventually(lambda: nothing_is_left(server), "what was made is gone")
    if step != "import paused":
        eventually(lambda: all("true false" in line for line in begun_at()), "the old one runs again")
        assert run("inspect", "-f", "{{.HostConfig.RestartPolicy.Name}}", names()[0]) == "unless-stopped"
    else:
        assert begun_at() == before
    eventually(lambda: sql("SELECT count(*) FROM orders") == str(ROWS), "its rows are there")
    assert databases_of(server) == []


def databases_of(server: Server) -> list[str]:
    status = server.call("db.status", {"appName": APP})
    return [] if status.status == 404 else [str(status.body)]


def test_it_is_taken_over_with_bytes_rows_and_variables_and_the_old_one_is_kept(server: Server, folder: Path) -> None:
    bytes_before, digest_before = sum_of(names()[0], "/up/bytes"), sql(DIGEST)
    done = server.do("apps.import", {"appName": APP, "source": str(folder), "database": True})
    told = done["details"]
    assert told["rows"] == {"orders": ROWS}
    assert told["waitedMs"] > 0
    rows = server.do("db.query", {"appName": APP, "sql": DIGEST})["rows"]
    assert "|".join(map(str, rows[0])) == digest_before
    assert sql("SELECT 1") == "", "the old database is stopped"
    assert [run("inspect", "-f", "{{.State.Running}}", name) for name in names()] == ["false", "false"]
    new = run("ps", "-q", "--filter", f"label=com.docker.compose.project={APP}")
    assert sum_of(new, "/up/bytes") == bytes_before
    assert FREE in run("port", new)
    seen = (server.apps / APP / "data" / "env").read_text()
    assert "GREETING=it costs $5 # really\n" in seen
    assert f"DATABASE_URL=postgresql://{APP}:" in seen
    assert "DB_HOST=db\n" not in seen
    assert (server.apps / APP / ".env").read_text() == ENV
    owned = (server.apps / APP / "data" / "owned").stat()
    assert (owned.st_uid, owned.st_gid, stat.S_IMODE(owned.st_mode)) == (1234, 2345, 0o640)
    assert run("inspect", "-f", "{{.HostConfig.Privileged}}", new) == "false"
    again = server.call("apps.import", {"appName": APP, "source": OLD})
    assert again.code == "app_name_taken"
    assert server.call("apps.import", {"appName": named("third"), "source": APP}).code == "not_importable"

    for command in told["startAgain"]:
        words = shlex.split(command)
        if words[0] == "ikoma":
            server.do("deploy.down", {"appName": APP})
        else:
            subprocess.run(words, check=True, capture_output=True)
    eventually(lambda: sql("SELECT count(*) FROM orders") == str(ROWS), "the old one serves its rows")
    assert sum_of(names()[0], "/up/bytes") == bytes_before
    run("stop", "-t", "1", *names())
    for command in told["removeOld"]:
        subprocess.run(shlex.split(command), check=True, capture_output=True)
    assert not folder.exists()
    server.do("deploy.up", {"appName": APP})
    assert server.do("apps.health", {"appName": APP})["health"] == "healthy"
