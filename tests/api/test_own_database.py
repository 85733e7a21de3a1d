"""An app that runs a database itself keeps it, whatever it gets on the platform beside."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from tests.images import busybox_image, postgres_image
from tests.support import Server

APP = "ownrows"
COMPOSE = """services:
  web:
    image: {web}
    command: ["sh", "-c", "env > /out/env; exec httpd -f -p 3000 -h /www"]
    volumes: ["./src:/www:ro", "./out:/out"]
    environment:
      DATABASE_URL: postgres://postgres@db/postgres
      DB_HOST: db
    depends_on: [db]
    init: true
  worker:
    image: {web}
    command: ["sh", "-c", "env > /out/worker; exec sleep 1000"]
    volumes: ["./out:/out"]
    init: true
  db:
    image: {db}
    environment:
      POSTGRES_PASSWORD: ${{POSTGRES_PASSWORD}}
    volumes: ["rows:/rows"]
volumes:
  rows: {{}}
x-ikoma:
  service: web
  port: 3000
  health: /ok
"""


@pytest.fixture(scope="module")
def folder(server: Server) -> Path:
    server.do("apps.init", {"appName": APP})
    made = server.apps / APP
    (made / "src" / "ok").write_text("ok\n")
    (made / "out").mkdir()
    (made / ".env").write_text("POSTGRES_PASSWORD=secure_password_here\n")
    (made / "docker-compose.yml").write_text(COMPOSE.format(web=busybox_image(), db=postgres_image()))
    return made


def sql(statement: str) -> str:
    """Run in the app's own database, as soon as it answers."""
    argv = ["docker", "exec", f"{APP}-db-1", "psql", "-h", "/tmp", "-v", "ON_ERROR_STOP=1", "-qAtX", "-c", statement]
    deadline = time.monotonic() + 120
    while (done := subprocess.run(argv, capture_output=True, text=True, check=False)).returncode:
        assert time.monotonic() < deadline, done.stderr
        time.sleep(0.1)
    return done.stdout.strip()


def variables(folder: Path, name: str) -> dict[str, str]:
    lines = (folder / "out" / name).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def test_an_app_keeps_the_rows_of_its_own_database_after_it_got_one_here(server: Server, folder: Path) -> None:
    server.do("deploy.up", {"appName": APP})
    sql("CREATE TABLE orders AS SELECT generate_series(1, 137) AS id")

    refused = server.call("db.backup", {"appName": APP})
    assert refused.code == "database_missing"
    assert "It runs its own (db)" in refused.body["error"]
    assert f"docker compose -p {APP} exec -T db pg_dump" in refused.body["hint"]

    created = server.do("db.create", {"appName": APP})
    assert any("db is a database that the app runs itself" in text for text in created["warnings"])
    assert any("web gets no variables" in text and "x-ikoma: {database: [web]}" in text for text in created["warnings"])
    report = server.do("apps.validate", {"appName": APP})
    assert any(item["problem"].startswith("web gets no variables") for item in report["warnings"])

    server.do("deploy.up", {"appName": APP})
    assert sql("SELECT count(*) FROM orders") == "137"
    web, worker = variables(folder, "env"), variables(folder, "worker")
    assert (web["DATABASE_URL"], web["DB_HOST"]) == ("postgres://postgres@db/postgres", "db")
    assert not {"PGHOST", "PGUSER", "PGPASSWORD", "POSTGRES_PASSWORD"} & web.keys()
    assert worker["PGUSER"] == worker["POSTGRES_USER"] == APP
    shown = subprocess.check_output(["docker", "inspect", "-f", "{{.Config.Env}}", f"{APP}-db-1"], text=True)
    assert "POSTGRES_PASSWORD=secure_password_here" in shown
    assert "POSTGRES_USER" not in shown

    backed_up = server.do("db.backup", {"appName": APP})
    assert backed_up["tables"] == {}
    assert any("rows of db" in text for text in backed_up["warnings"])


def test_a_database_can_be_told_under_an_apps_own_names(server: Server, folder: Path) -> None:
    compose = folder / "docker-compose.yml"
    text = compose.read_text()
    compose.write_text(text + "  database: {worker: {DBUSER: user, DBNAME: nam}}\n")
    refused = server.call("deploy.up", {"appName": APP})
    assert refused.code == "invalid_compose"
    assert "DBNAME is 'nam'; it takes" in refused.body["error"]
    names = "{DBUSER: user, DBPASS: password, DBHOST: host, DBNAME: name, DBPORT: port, URL: url}"
    compose.write_text(text + f"  database: {{worker: {names}}}\n")
    server.do("deploy.up", {"appName": APP})
    worker = variables(folder, "worker")
    assert worker["DBUSER"] == worker["DBNAME"] == APP
    assert worker["URL"] == f"postgresql://{APP}:{worker['DBPASS']}@{worker['DBHOST']}:{worker['DBPORT']}/{APP}"
    assert "DATABASE_URL" not in worker
    assert sql("SELECT count(*) FROM orders") == "137"


def test_a_database_that_is_built_from_a_dockerfile_is_one_too(server: Server) -> None:
    name = "ownbuilt"
    server.do("apps.init", {"appName": name})
    made = server.apps / name
    (made / "rows").mkdir()
    (made / "rows" / "Dockerfile").write_text(f"FROM {busybox_image()} AS tools\nFROM {postgres_image()}\n")
    service = f"{{image: {busybox_image()}, command: [sleep, '600'], init: true, stop_grace_period: 1s}}"
    (made / "docker-compose.yml").write_text(
        f"services:\n  store: {{build: ./rows, environment: {{POSTGRES_PASSWORD: own}}}}\n  web: {service}\n"
        "x-ikoma: {service: false, watch: 0s}\n"
    )
    created = server.do("db.create", {"appName": name})
    assert created["warnings"] == [
        "store is a database that the app runs itself: it stays as it is, and its rows stay there."
    ]
    server.do("deploy.up", {"appName": name})
    argv = ["docker", "inspect", "-f", "{{.Config.Env}}"]
    store = subprocess.check_output([*argv, f"{name}-store-1"], text=True)
    assert "POSTGRES_PASSWORD=own" in store
    assert "DATABASE_URL" not in store
    assert f"PGUSER={name}" in subprocess.check_output([*argv, f"{name}-web-1"], text=True)
    assert any("rows of store" in text for text in server.do("db.backup", {"appName": name})["warnings"])
    server.do("apps.remove", {"appName": name})
