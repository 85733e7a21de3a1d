"""The HTTP door shows more than calls: reference, OpenAPI, health, progress."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.request

from tests.apps import make_app
from tests.support import Server, fetch

ROLES = {
    "platform.info": "observer",
    "platform.check": "observer",
    "apps.list": "observer",
    "apps.status": "observer",
    "apps.health": "observer",
    "apps.init": "builder",
    "apps.remove": "admin",
    "apps.env.example": "observer",
    "apps.validate": "observer",
    "deploy.up": "operator",
    "deploy.down": "operator",
    "deploy.restart": "operator",
    "db.create": "builder",
    "db.migrate": "builder",
    "db.seed": "builder",
    "db.backup": "operator",
    "db.status": "observer",
    "artifact.generate_runbook": "observer",
    "artifact.verify_release": "observer",
}


def test_the_canonical_capabilities_are_there_with_their_roles(server: Server) -> None:
    listed = {item["name"]: item["role"] for item in server.get("/capabilities").body["capabilities"]}
    assert {name: listed.get(name) for name in ROLES} == ROLES
    assert sorted(listed) == server.do("platform.info")["capabilities"]


def test_the_list_of_capabilities_takes_a_key(server: Server) -> None:
    request = urllib.request.Request(f"{server.url}/capabilities")
    assert fetch(request).status == 401


def test_health_needs_no_key(server: Server) -> None:
    with urllib.request.urlopen(f"{server.url}/health") as response:
        body = json.loads(response.read())
    assert body["status"] == "healthy"
    assert body["version"]
    assert set(body["apps"]) == {"total", "healthy", "unhealthy"}


def test_the_openapi_document_is_valid_and_complete(server: Server) -> None:
    document = server.get("/openapi.json").body
    names = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)))
    assert names <= set(document["components"]["schemas"])
    assert {f"/execute/{name}" for name in ROLES} <= set(document["paths"])


def test_the_reference_works_offline(server: Server) -> None:
    with urllib.request.urlopen(f"{server.url}/") as response:
        page = response.read().decode()
    assert response.url.endswith("/docs")
    assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", page)
    assert not re.search(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=", page)  # all of it is in the page
    for name in ROLES:
        assert f'id="{name}"' in page


def test_long_work_streams_its_progress_line_by_line(server: Server) -> None:
    make_app(server, "streams")
    request = urllib.request.Request(
        f"{server.url}/execute/deploy.up",
        data=b'{"appName":"streams"}',
        headers={"X-Api-Key": server.key, "Accept": "application/x-ndjson"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        lines = [json.loads(line) for line in response]
    messages = [line["progress"]["message"] for line in lines[:-1]]
    assert messages[0] == "validate"
    assert "web: healthy" in messages
    assert lines[-1]["success"] is True


def test_containers_get_the_database_of_their_app_and_not_what_env_says(server: Server) -> None:
    command = '["sh", "-c", "env > /out/env; exec httpd -f -p 3000 -h /www"]'
    folder = make_app(server, "given", command=command)
    (folder / "out").mkdir()
    compose = folder / "docker-compose.yml"
    compose.write_text(compose.read_text().replace('["./src:/www:ro"]', '["./src:/www:ro", "./out:/out"]'))
    (folder / ".env").write_text("PORT=3000\nPOSTGRES_USER=ikoma\nPOSTGRES_PASSWORD=secure_password_here\n")
    server.do("db.create", {"appName": "given"})
    warnings = server.do("apps.validate", {"appName": "given"})["warnings"]
    assert [(item["file"], item["line"]) for item in warnings] == [(".env", 2), (".env", 3)]
    server.do("deploy.up", {"appName": "given"})
    env = dict(line.split("=", 1) for line in (folder / "out" / "env").read_text().splitlines() if "=" in line)
    assert env["POSTGRES_USER"] == env["PGUSER"] == "given"
    assert env["POSTGRES_DB"] == env["PGDATABASE"] == "given"
    assert env["DATABASE_URL"].startswith("postgresql://given:")
    assert env["PGPASSWORD"] in env["DATABASE_URL"]
    assert "secure_password_here" not in env.values()
    shown = subprocess.check_output(["docker", "inspect", "-f", "{{.HostConfig.ExtraHosts}}", "given-web-1"], text=True)
    assert env["PGHOST"] in shown
    # The password is in the app's own folder and nowhere else that others can read.
    secret = folder / ".ikoma" / "database.json"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert (folder / ".ikoma").stat().st_mode & 0o777 == 0o700
    for path in (folder / ".ikoma" / "releases").rglob("compose.json"):
        assert path.stat().st_mode & 0o777 == 0o600
