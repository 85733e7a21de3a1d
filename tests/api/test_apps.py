"""Apps, from init to remove, as a user sees them."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from ikoma.compose.x_ikoma import KEYS
from tests.apps import COMPOSE, make_app
from tests.images import busybox_image
from tests.support import Server


def containers(project: str) -> list[str]:
    argv = ["docker", "ps", "-aq", "--filter", f"label=com.docker.compose.project={project}"]
    return subprocess.check_output(argv, text=True).split()


@pytest.mark.parametrize("template", ["node", "python", "static", "dockerfile"])
def test_init_writes_a_folder_that_validates_once_source_is_there(server: Server, template: str) -> None:
    name = f"tpl-{template}"
    made = server.do("apps.init", {"appName": name, "template": template})
    folder = server.apps / name
    for entry in ("config", "migrations", "seeds", "src", "docker-compose.yml"):
        assert (folder / entry).exists()
    assert made["details"]["path"] == str(folder)
    assert "docker-compose.yml" in made["details"]["files"]
    (folder / "src" / "Dockerfile").write_text("FROM scratch\n")
    report = server.do("apps.validate", {"appName": name})
    assert [item for item in report["errors"] if "image" not in item["problem"]] == []


def test_init_again_touches_nothing_that_a_person_has_edited(server: Server) -> None:
    server.do("apps.init", {"appName": "again"})
    compose = server.apps / "again" / "docker-compose.yml"
    compose.write_text("# mine\nservices: {}\n")
    (server.apps / "again" / "config" / "Dockerfile").unlink()
    made = server.do("apps.init", {"appName": "again"})
    assert compose.read_text() == "# mine\nservices: {}\n"
    assert made["details"]["files"] == ["config/Dockerfile"]
    assert server.do("apps.init", {"appName": "again", "template": "static"})["details"]["files"] == [
        "config/Caddyfile"
    ]


def test_init_refuses_an_unknown_template(server: Server) -> None:
    answer = server.call("apps.init", {"appName": "rails", "template": "rails"})
    assert answer.code == "invalid_arguments"
    assert not (server.apps / "rails").exists()


def validate(server: Server, name: str, compose: str) -> dict[str, list[dict[str, Any]]]:
    server.call("apps.init", {"appName": name})
    (server.apps / name / "docker-compose.yml").write_text(compose)
    return server.do("apps.validate", {"appName": name})


@pytest.mark.parametrize(
    ("compose", "line", "problem"),
    [
        ("garbage: [", None, ""),
        ("", None, ""),
        ("- a\n- b\n", None, ""),
        ("services:\n  web:\n    image: IMG\n    colour: red\n", 4, "colour"),
        ("services:\n  web:\n    restart: always\n", 2, "neither an image nor a build"),
        ("services:\n  web:\n    image: IMG\n    ports:\n      - ${NOT_SET}:80\n", 5, "NOT_SET"),
        ("services:\n  web:\n    build: ./missing\n", 3, "missing"),
        ("services:\n  web:\n    build: ./src\n", 3, "empty"),
        ("services:\n  web:\n    image: IMG\n    volumes:\n      - /etc:/host\n", 5, "/etc"),
        ("services:\n  web:\n    image: IMG\n    volumes:\n      - ../..:/host\n", 5, "outside"),
        ("services:\n  web:\n    image: IMG\nx-ikoma:\n  service: api\n  port: 1\n", 5, "api"),
        ("services:\n  web:\n    image: IMG\nx-ikoma:\n  hold: 1s\n  watch: soon\n", 6, "watch is 'soon'"),
        ("services:\n  web:\n    image: IMG\nx-ikoma:\n  hold: 1s\n  nope: 1\n", 6, "nope is unknown"),
        ("services:\n  web:\n    image: IMG\nx-ikoma:\n  hold: 1s\n  database: [nope]\n", 6, "no service 'nope'"),
        ("services:\n  web:\n    image: IMG\nx-ikoma:\n  hold: 1s\n  data: [uploads]\n", 6, "src/ or config/"),
        ("services:\n  web:\n    image: IMG\n    env_file: gone.env\n", None, "gone.env"),
        ("services:\n  web:\n    image: no-such-image-anywhere:1\n", 3, "no-such-image-anywhere:1"),
    ],
)
def test_validate_names_file_line_and_fix(server: Server, compose: str, line: int | None, problem: str) -> None:
    report = validate(server, "invalid", compose.replace("IMG", busybox_image()))
    assert report["valid"] is False
    finding = report["errors"][0]
    assert finding["file"] == "docker-compose.yml"
    assert problem in str(finding["problem"])
    assert finding["fix"]
    if line is not None:
        assert finding["line"] == line


def test_validate_finds_ports_in_use(server: Server) -> None:
    with socket.create_server(("", 0)) as listener:
        taken = listener.getsockname()[1]
        ports = f"    ports:\n      - '{taken}:80'\n      - '{server.port}:81'\n"
        compose = f"services:\n  web:\n    image: {busybox_image()}\n{ports}"
        report = validate(server, "ports", f"{compose}x-ikoma: {{service: false}}\n")
    assert [(item["line"], item["problem"].split(" is used by ")[0]) for item in report["errors"]] == [
        (5, f"Host port {taken}"),
        (6, f"services.web.ports.1: Host port {server.port}"),
    ]
    assert [item["rule"] for item in report["errors"]] == [None, "platform-port"]
    assert "IKOMA itself" in report["errors"][1]["problem"]


@pytest.mark.parametrize(
    ("block", "fix"),
    [
        ("\n  strategy: fast", "Correct the value of strategy, or remove it."),
        ("\n  service: wbe", "Name one that is there: web."),
        ("\n  database:\n    wbe: {A: user}", "Name one that is there: web."),
        ("\n  strategie: rolling", "Correct the key's name, or remove it."),
        (" web", f"The block takes {', '.join(KEYS)}."),
    ],
)
def test_the_smallest_change_to_an_x_ikoma_block_is_named(server: Server, block: str, fix: str) -> None:
    compose = f"services:\n  web:\n    image: {busybox_image()}\nx-ikoma:{block}\n"
    [error] = validate(server, "takes", compose)["errors"]
    assert (error["line"], error["fix"]) == (4 + block.startswith("\n"), fix)


def test_a_blank_in_an_image_is_named_before_what_comes_of_it(server: Server) -> None:
    [error, *_] = validate(server, "blank", "services:\n  web:\n    image: shop:${TAG}\n")["errors"]
    assert error["problem"].startswith("The variable TAG is not set")


def test_tcp_and_udp_have_each_their_own_ports(server: Server) -> None:
    compose = f"services:\n  web:\n    image: {busybox_image()}\n    ports: [PORTS]\n"
    both = validate(server, "protocols", compose.replace("PORTS", "'17655:80', '17655:80/udp'"))
    assert both["errors"] == []
    for twice in ("'17655:80', '17655:81'", "'17655:80/udp', '17655:81/udp'"):
        [error] = validate(server, "protocols", compose.replace("PORTS", twice))["errors"]
        assert error["problem"].startswith("Host port 17655")
        assert error["problem"].endswith("is used by the service web of this app.")


@pytest.mark.parametrize("published", ["1-9999999999", "1-99999", "²"])
def test_a_range_that_is_no_range_of_ports_is_a_finding(server: Server, published: str) -> None:
    port = f"{{target: 80, published: '{published}'}}"
    compose = f"services:\n  web:\n    image: {busybox_image()}\n    ports: [{port}]\n"
    assert {item["rule"] for item in validate(server, "ranges", compose)["errors"]} <= {"platform-port", "limits", None}
    assert not validate(server, "ranges", compose)["valid"]
    assert server.process is not None
    assert psutil.Process(server.process.pid).memory_info().rss < 400 << 20


def test_validate_says_which_names_env_example_asks_for(server: Server) -> None:
    folder = make_app(server, "asks")
    (folder / ".env.example").write_text("API_TOKEN=\nPORT=1\n")
    (folder / ".env").write_text("PORT=3000\n")
    warnings = server.do("apps.validate", {"appName": "asks"})["warnings"]
    assert [item["problem"].split(" ")[0] for item in warnings] == ["API_TOKEN"]


def test_the_example_environment_is_text_of_an_env_file(server: Server) -> None:
    server.call("apps.init", {"appName": "example"})
    text = server.do("apps.env.example", {"appName": "example"})
    assert "PORT=3000\n" in text
    assert "NODE_ENV=production\n" in text
    assert "POSTGRES_DB=example\n" in text


def test_a_deployed_app_is_healthy_and_down_stops_it(server: Server) -> None:
    make_app(server, "simple")
    assert server.do("apps.health", {"appName": "simple"})["health"] == "stopped"
    up = server.do("deploy.up", {"appName": "simple"})
    assert up["success"] is True
    assert up["details"]["services"] == ["web"]
    assert up["details"]["downtimeMs"] == 0
    status = server.do("apps.status", {"appName": "simple"})
    assert status["health"] == "healthy"
    assert status["dockerRunning"] is True
    assert status["release"] == up["details"]["release"]
    listed = {app["name"]: app for app in server.do("apps.list")["apps"]}
    assert listed["simple"]["health"] == "healthy"
    assert listed["simple"]["urls"]
    restarted = server.do("deploy.restart", {"appName": "simple"})
    assert restarted["details"]["downtimeMs"] == 0
    assert server.do("apps.health", {"appName": "simple"})["health"] == "healthy"
    server.do("deploy.down", {"appName": "simple"})
    assert server.do("apps.status", {"appName": "simple"})["health"] == "stopped"
    assert containers("simple") == []
    server.do("deploy.down", {"appName": "simple"})


def test_an_app_whose_containers_exit_at_once_is_not_deployed(server: Server) -> None:
    make_app(server, "exits", command='["sh", "-c", "echo about to fail; exit 3"]')
    answer = server.call("deploy.up", {"appName": "exits", "timeout": 30})
    assert (answer.status, answer.code) == (422, "deploy_failed")
    assert answer.body["details"]["service"] == "web"
    assert answer.body["details"]["exitCode"] == 3
    assert any("about to fail" in line for line in answer.body["details"]["logs"])
    assert server.do("apps.health", {"appName": "exits"})["health"] != "healthy"
    assert server.do("artifact.verify_release", {"appName": "exits"})["verified"] is False


def test_an_app_whose_health_path_answers_404_is_not_healthy(server: Server) -> None:
    make_app(server, "lost", health="/nothing-here")
    answer = server.call("deploy.up", {"appName": "lost"})
    assert answer.code == "deploy_failed"
    assert "404" in answer.body["error"]


def test_a_health_path_that_is_lost_later_is_noticed(server: Server) -> None:
    serve = '["sh", "-c", "mkdir /w; echo here > /w/page; exec httpd -f -p 3000 -h /w"]'
    folder = make_app(server, "later", health="/page", command=serve)
    compose = folder / "docker-compose.yml"
    compose.write_text(compose.read_text().replace("3000/ok", "3000/page").replace("interval: 1s", "interval: 1s"))
    server.do("deploy.up", {"appName": "later"})
    subprocess.run(["docker", "exec", *containers("later"), "rm", "/w/page"], check=True)
    health = server.do("apps.health", {"appName": "later"})
    assert health["health"] == "unhealthy"
    assert "404" in health["details"]["healthPath"]["details"]


def test_a_service_that_dies_is_noticed_at_once(server: Server) -> None:
    make_app(server, "dies")
    compose = server.apps / "dies" / "docker-compose.yml"
    compose.write_text(compose.read_text().replace("restart: unless-stopped", 'restart: "no"'))
    server.do("deploy.up", {"appName": "dies"})
    subprocess.run(["docker", "kill", *containers("dies")], check=True, capture_output=True)
    assert server.do("apps.status", {"appName": "dies"})["health"] in ("unhealthy", "stopped")


def test_env_of_the_call_reaches_the_containers_and_never_our_children(server: Server, tmp_path: Path) -> None:
    trap = tmp_path / "docker-compose"
    trap.write_text("#!/bin/sh\ntouch " + str(tmp_path / "sprung"))
    trap.chmod(0o755)
    make_app(
        server, "envs", command='["sh", "-c", "env > /tmp/env; cp /tmp/env /www2/env; exec httpd -f -p 3000 -h /www"]'
    )
    compose = server.apps / "envs" / "docker-compose.yml"
    (server.apps / "envs" / "out").mkdir()
    compose.write_text(compose.read_text().replace('["./src:/www:ro"]', '["./src:/www:ro", "./out:/www2", "/tmp"]'))
    env = {
        "PATH": f"{tmp_path}:/bin",
        "DOCKER_HOST": "unix:///nowhere.sock",
        "COMPOSE_FILE": "/etc/passwd",
        "LD_PRELOAD": "/nowhere.so",
        "PRICE": "$5 and $$",
    }
    server.do("deploy.up", {"appName": "envs", "env": env})
    seen = (server.apps / "envs" / "out" / "env").read_text()
    for name in ("DOCKER_HOST", "COMPOSE_FILE", "PRICE"):
        assert f"{name}={env[name]}\n" in seen
    assert not (tmp_path / "sprung").exists()
    bad = server.call("deploy.up", {"appName": "envs", "env": {"A=B": "x"}})
    assert bad.code == "invalid_arguments"


def test_projects_of_others_are_left_alone(server: Server, tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(
        f"services:\n  x:\n    image: {busybox_image()}\n    command: [sleep, '600']\n"
    )
    from ikoma.engines.compose.argv import find_compose_program

    compose = [str(find_compose_program()), "-p", "foreign", "-f", str(tmp_path / "compose.yaml")]
    subprocess.run([*compose, "up", "-d"], check=True, capture_output=True)
    try:
        make_app(server, "foreign")
        for capability in ("deploy.up", "deploy.down", "apps.remove"):
            assert server.call(capability, {"appName": "foreign"}).code == "project_name_taken"
        assert len(containers("foreign")) == 1
    finally:
        subprocess.run([*compose, "down", "-t", "0"], check=True, capture_output=True)


def test_remove_keeps_everything_in_the_trash(server: Server) -> None:
    compose = COMPOSE.replace('["./src:/www:ro"]', '["./src:/www:ro", "data:/data"]') + "volumes:\n  data: {{}}\n"
    make_app(
        server, "gone", compose=compose, command='["sh", "-c", "echo kept > /data/f; exec httpd -f -p 3000 -h /www"]'
    )
    server.do("db.create", {"appName": "gone"})
    server.do("db.migrate", {"appName": "gone", "sql": "CREATE TABLE t AS SELECT 42 AS answer"})
    server.do("deploy.up", {"appName": "gone"})
    details = server.do("apps.remove", {"appName": "gone"})["details"]
    trash = Path(details["trash"])
    assert (trash / "folder" / "docker-compose.yml").is_file()
    assert "42" in Path(details["backup"]).read_text()
    listing = subprocess.check_output(["tar", "-tf", trash / "volumes" / "gone_data.tar"], text=True)
    assert "f" in {Path(line).name for line in listing.split()}
    assert containers("gone") == []
    assert "gone_data" not in subprocess.check_output(["docker", "volume", "ls", "-q"], text=True).split()
    assert server.call("apps.status", {"appName": "gone"}).status == 404
    assert server.call("apps.remove", {"appName": "gone"}).code == "app_not_found"
    server.do("apps.init", {"appName": "gone"})
    assert server.do("db.status", {"appName": "gone"})["exists"] is False


def test_an_app_that_locks_its_tables_holds_up_backups_for_seconds_and_its_removal_not_at_all(server: Server) -> None:
    server.do("apps.init", {"appName": "held"})
    server.do("db.create", {"appName": "held"})
    server.do("db.migrate", {"appName": "held", "sql": "CREATE TABLE t AS SELECT 42 AS answer"})
    with server.login("held") as session:
        session.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        refused = server.call("db.backup", {"appName": "held"})
        assert refused.code == "app_busy"
        assert str(session.info.backend_pid) in refused.body["error"]
        details = server.do("apps.remove", {"appName": "held"})["details"]
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
    assert "42" in Path(details["backup"]).read_text()


def test_removing_one_app_leaves_its_namesakes(server: Server) -> None:
    for name in ("my-app", "my_app", "myapp"):
        server.do("apps.init", {"appName": name})
        server.do("db.create", {"appName": name})
        server.do("db.migrate", {"appName": name, "sql": f"CREATE TABLE of_it AS SELECT '{name}' AS name"})
    server.do("apps.remove", {"appName": "my-app"})
    for name in ("my_app", "myapp"):
        state = server.do("db.status", {"appName": name})
        assert (state["exists"], state["tables"]) == (True, ["of_it"])


def test_the_runbook_of_an_app_holds_names_and_no_values(server: Server) -> None:
    folder = make_app(server, "booked")
    (folder / ".env").write_text("PORT=3000\nAPI_TOKEN=hunter2-token\n")
    server.do("db.create", {"appName": "booked"})
    server.do("deploy.up", {"appName": "booked"})
    written = (folder / "RUNBOOK.md").read_text()
    made = server.do("artifact.generate_runbook", {"appName": "booked"})
    assert made["markdown"] == written
    (folder / "RUNBOOK.md").write_text("a person's own notes\n")
    assert server.do("artifact.generate_runbook", {"appName": "booked"}) == made
    shown = server.do("artifact.generate_runbook", {"appName": "booked"}, role="observer")["markdown"]
    assert str(server.apps) not in shown  # where it lies on the server is for those who get there
    assert Path(made["path"]).read_text() == "a person's own notes\n"  # it is read, not written
    assert "API_TOKEN" in made["markdown"]
    secret = json.loads((folder / ".ikoma" / "database.json").read_text())["password"]
    assert "hunter2" not in made["markdown"]
    assert secret not in made["markdown"]
    for part in ("/ok", "apps.status", "deploy.up", "Roll back", "Restore", "- [ ]"):
        assert part in made["markdown"]


def test_a_deploy_whose_runbook_cannot_be_written_has_succeeded_all_the_same(server: Server) -> None:
    folder = make_app(server, "unbooked")
    (folder / "RUNBOOK.md").mkdir()
    deployed = server.do("deploy.up", {"appName": "unbooked"})
    assert any(warning.startswith("RUNBOOK.md was not written: ") for warning in deployed["details"]["warnings"])
    assert server.do("apps.health", {"appName": "unbooked"})["health"] == "healthy"
    server.do("apps.remove", {"appName": "unbooked"})


def test_a_manifest_that_cannot_be_read_hides_its_own_backup_only(server: Server) -> None:
    make_app(server, "manifested")
    server.do("db.create", {"appName": "manifested"})
    server.do("deploy.up", {"appName": "manifested"})
    made = server.do("db.backup", {"appName": "manifested"})
    root = Path(made["backupPath"]).parent
    broken = {"of-later": '{"app": "manifested", "proof": {}}', "half": '{"app": "mani', "list": "[]", "empty": ""}
    for name, text in broken.items():
        (root / f"{name}.sql").touch()
        (root / f"{name}.sql.json").write_text(text)
    try:
        checks = {
            item["name"]: item for item in server.do("artifact.verify_release", {"appName": "manifested"})["checks"]
        }
        assert Path(made["backupPath"]).name in checks["backup"]["details"]
        server.do("deploy.up", {"appName": "manifested"})
        server.do("apps.remove", {"appName": "manifested"})
    finally:
        for name in broken:
            (root / f"{name}.sql").unlink()
            (root / f"{name}.sql.json").unlink()


def test_verification_looks_at_everything(server: Server) -> None:
    folder = make_app(server, "proved")
    server.do("db.create", {"appName": "proved"})
    server.do("deploy.up", {"appName": "proved"})
    (folder / "migrations" / "001_a.sql").write_text("CREATE TABLE a (i int);")

    def checks() -> dict[str, bool]:
        answer = server.do("artifact.verify_release", {"appName": "proved"}, role="observer")
        found = {item["name"]: item["passed"] for item in answer["checks"]}
        assert answer["verified"] is all(item["passed"] for item in answer["checks"] if item["required"])
        return found

    assert checks()["migrations"] is False
    server.do("db.migrate", {"appName": "proved"})
    seen = checks()
    assert seen["migrations"] is True
    assert seen["backup"] is False
    server.do("db.backup", {"appName": "proved"})
    seen = checks()
    assert {name for name, passed in seen.items() if not passed} == {"alerts"}
    (folder / "docker-compose.yml").write_text("garbage: [")
    assert checks()["compose"] is False
