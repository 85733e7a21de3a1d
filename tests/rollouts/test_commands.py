"""Commands that run once: an app's release command as a part of its deploy, and those that people run by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests import docker_api
from tests.faults.server_observations import Background
from tests.images import busybox_image, postgres_image
from tests.rollouts.live_app import LiveApp, compose, docker, new_app
from tests.support import Server, eventually


def with_release(command: str, *, more: str = "", of: str = "") -> str:
    """A compose file whose web service has psql, and that has a release command."""
    block = f'x-ikoma: {{release: {{service: web, command: [sh, -c, "{command}"]{more}}}, '
    return psql_app(more=of).replace("x-ikoma: {", block)


def psql_app(more: str = "") -> str:
    """A compose file whose web service has psql, by a name that no database has: those get no variables."""
    docker("tag", postgres_image(), "ikoma-test-client:1")
    return compose(image="ikoma-test-client:1", more=more)


@pytest.fixture(scope="module")
def app(server: Server) -> LiveApp:
    made = new_app(server, "live-commands")
    made.do("db.create")
    (made.folder / "migrations" / "1_shop.sql").write_text("CREATE TABLE shop (id int); INSERT INTO shop VALUES (1);")
    made.deploy("0", psql_app())
    return made


@pytest.fixture(autouse=True)
def nothing_is_left(app: LiveApp) -> Iterator[None]:
    yield
    eventually(lambda: once(app) == [], "no command has a container")
    assert not (app.folder / ".ikoma" / "command.json").exists()


def once(app: LiveApp) -> list[str]:
    """Containers of commands."""
    like = {"name": [f"{app.name}-.*-once-"]}
    return [item["Id"] for item in docker_api.get("/containers/json", all="1", filters=like)]


def rows(app: LiveApp) -> int:
    return int(app.do("db.query", sql="SELECT count(*) FROM shop")["rows"][0][0])


def ledger(app: LiveApp) -> list[str]:
    return [item if isinstance(item, str) else item["name"] for item in app.do("db.status")["migrations"]["applied"]]


def test_a_release_command_runs_on_the_new_code_after_the_backup_and_counts_as_a_migration(app: LiveApp) -> None:
    (app.folder / "migrations" / "2_more.sql").write_text("INSERT INTO shop VALUES (2);")
    app.write("1", with_release("cat /www/version; psql -qc 'INSERT INTO shop SELECT id + 2 FROM shop'"))
    [sql, command] = app.do("deploy.plan")["migrations"]
    assert (sql["name"], command["name"]) == (
        "2_more.sql",
        "release command of web: sh -c cat /www/version; psql -qc 'INSERT INTO shop SELECT id + 2 FROM shop'",
    )
    assert command["compatible"] is True
    assert "cannot be judged" in command["warnings"][0]
    with app.loaded("0", "1", rate=50):
        deployed = app.do("deploy.up")["details"]
    assert rows(app) == 4
    assert deployed["migrations"] == ["2_more.sql", f"release-command-{deployed['release']}"]
    shown = app.do("release.show")
    assert (shown["output"], shown["backup"]) == (["1"], deployed["backup"])
    held = json.loads((app.server.backups / f"{deployed['backup']}.json").read_text())
    assert held["manifest"]["tables"] == {"shop": 1}
    assert ledger(app)[-2:] == deployed["migrations"]
    operation = next(item for item in app.do("operations.list")["operations"] if item["capability"] == "deploy.up")
    steps = app.server.do("operations.get", {"operationId": operation["id"]})["steps"]
    assert "web | 1" in [item["name"] for item in steps]
    assert app.do("apps.validate")["valid"] is True

    app.do("deploy.restart")
    assert rows(app) == 4, "it runs for a release, not for each rollout of it"
    planned = app.do("deploy.plan", rollback=True, database=True)["rollback"]
    assert deployed["backup"] in planned["database"]
    app.do("deploy.rollback", database=True)
    assert rows(app) == 1
    assert ledger(app) == ["1_shop.sql"]
    (app.folder / "migrations" / "2_more.sql").unlink()


def test_a_release_command_that_fails_leaves_the_old_release_serving(app: LiveApp) -> None:
    running = app.settle().running()
    app.write("broken", with_release("echo it cannot be; exit 3"))
    with app.loaded("0", rate=50):
        failed = app.call("deploy.up")
    assert failed.code == "deploy_failed"
    assert failed.body["error"] == "The release command of web ended with code 3."
    assert failed.body["details"]["logs"] == ["it cannot be"]
    assert app.running() == running
    release = app.releases()[0]
    assert (release["state"], release["cause"]) == ("failed", failed.body["error"])
    shown = app.do("release.show", release=release["id"])
    assert (shown["output"], shown["logs"]) == (["it cannot be"], ["it cannot be"])
    assert release["backup"] is not None


def test_a_release_command_has_its_time(app: LiveApp) -> None:
    app.write("broken", with_release("echo begun; sleep 100", more=", timeout: 6s"))
    failed = app.call("deploy.up")
    assert failed.code == "command_timed_out"
    assert failed.body["details"]["logs"] == ["begun"]


def test_a_breaking_release_command_that_fails_is_taken_back_with_every_row(app: LiveApp) -> None:
    before, release = rows(app), app.releases()[0]
    app.write("broken", with_release("psql -qc 'DELETE FROM shop'; exit 1", more=", breaking: true"))
    plan = app.do("deploy.plan")
    assert plan["migrations"][0]["compatible"] is False
    assert "release command" in plan["downtime"][0]["reason"]
    assert app.call("deploy.up").code == "deploy_failed"
    assert app.releases()[0]["compatible"] is False
    assert rows(app) == before > 0
    assert release["id"] != app.releases()[0]["id"]
    eventually(lambda: app.do("apps.status")["health"] == "healthy", "what served serves again")


def test_a_server_killed_in_a_breaking_release_command_takes_it_back_and_says_so(app: LiveApp) -> None:
    before = rows(app)
    app.write("broken", with_release("psql -qc 'DELETE FROM shop'; echo deleted; sleep 1000", more=", breaking: true"))
    deploying = Background(app.server, "deploy.up", {"appName": app.name})
    eventually(lambda: bool(once(app)) and rows(app) == 0, "the command has begun")
    app.server.kill()
    assert deploying.wait() is None
    assert len(once(app)) == 1
    app.server.start()
    eventually(lambda: app.do("apps.status")["health"] == "healthy", "what served serves again")
    eventually(lambda: app.releases()[0]["state"] == "failed", "it is on record")
    assert app.releases()[0]["cause"] == (
        "The deploy was interrupted: its server was stopped or killed."
        " Its release command was running, and may be half done."
    )
    assert rows(app) == before


def test_a_release_command_finds_the_services_that_its_own_waits_for(server: Server) -> None:
    own = new_app(server, "live-commands-own")
    backend = (
        f"  backend:\n    image: {busybox_image()}\n    command: [httpd, -f, -p, '80', -h, /bin]\n    init: true\n"
        '    healthcheck: {test: [CMD, wget, -q, --spider, "http://127.0.0.1/ls"], interval: 1s}\n'
    )
    needs = "depends_on: {backend: {condition: service_healthy}}"
    text = with_release("wget -q --spider http://backend/ls && echo found", of=needs)
    own.deploy("1", text.replace("services:\n", f"services:\n{backend}"))
    shown = own.do("release.show")
    assert (shown["output"], shown["backup"], shown["applied"]) == (["found"], None, [])
    own.do("deploy.image", service="backend", image=busybox_image())
    again = own.do("release.show")
    assert (again["output"], again["id"] == shown["id"]) == (["found"], False), "another image is a new release"
    own.do("deploy.down")


def test_a_command_is_judged_by_the_policy_of_now(server: Server) -> None:
    odd = new_app(server, "live-commands-odd", compose_file=compose(more="cap_add: [SYS_PTRACE]"))
    soon = (datetime.now(UTC) + timedelta(days=9)).isoformat()
    waived = odd.do("policy.waive", rule="capabilities", reason="to see", expires=soon)
    odd.deploy("1")
    assert odd.do("apps.run", command=["true"])["exitCode"] == 0
    odd.do("policy.unwaive", id=waived["id"])
    assert odd.call("apps.run", command=["true"]).code == "policy_violation"
    odd.do("deploy.down")
    assert odd.call("apps.run", command=["true"]).code == "not_deployed"


def test_a_release_command_of_a_service_without_a_container_stops_nothing(server: Server) -> None:
    job = f"  worker: {{image: {busybox_image()}, command: [sleep, '1000'], init: true}}\n"
    idle = new_app(server, "live-commands-idle", compose_file=compose().replace("services:\n", f"services:\n{job}"))
    idle.deploy("1")
    idle.do("deploy.scale", service="worker", replicas=0)
    running = idle.settle().running()
    block = "x-ikoma: {release: {service: worker, command: [sleep, '1'], breaking: true}, "
    idle.write("2", (idle.folder / "docker-compose.yml").read_text().replace("x-ikoma: {", block))
    refused = idle.call("deploy.up")
    assert (refused.code, idle.running()) == ("deploy_failed", running)
    call = 'deploy.scale {"appName": "live-commands-idle", "service": "worker", "replicas": 1}'
    assert call in refused.body["hint"]
    idle.do("deploy.down")


@pytest.mark.parametrize(
    ("block", "says"),
    [
        ("{service: gone, command: [a]}", "there is no service 'gone'"),
        ("{service: web}", "command takes a list"),
        ("{service: web, command: a b}", "command takes a list"),
        ("{service: web, command: []}", "command takes a list"),
        ("{service: web, command: [a], often: true}", "often is unknown"),
        ("{service: web, command: [a], timeout: soon}", "it takes a time such as 10s"),
        ("{service: web, command: [a], breaking: perhaps}", "breaking takes true or false"),
        ("migrate", "it takes service, command"),
    ],
)
def test_a_wrong_release_command_is_a_finding(app: LiveApp, block: str, says: str) -> None:
    app.write("broken", compose().replace("x-ikoma: {", f"x-ikoma: {{release: {block}, "))
    [found] = app.do("apps.validate")["errors"]
    assert says in found["problem"]


def test_a_command_by_hand_has_what_the_service_has_and_tells_its_exit_code(app: LiveApp) -> None:
    app.do("env.set", name="API_TOKEN", value="a-secret-of-the-app")
    text = psql_app("environment: {WORD: here, API_TOKEN: $API_TOKEN}\nmem_limit: 64m")
    app.deploy("5", text)
    script = "echo $WORD $API_TOKEN; cat /www/version; psql -qtAc 'SELECT count(*) FROM shop' >&2; exit 9"
    ran = app.do("apps.run", service="web", command=["sh", "-c", script])
    assert (ran["exitCode"], ran["count"]) == (9, 3)
    assert set(ran["lines"]) == {"here ***", "5", str(rows(app))}
    operation = next(item for item in app.do("operations.list")["operations"] if item["capability"] == "apps.run")
    kept = app.server.do("operations.get", {"operationId": operation["id"]})
    assert kept["result"]["lines"] == ran["lines"]
    assert "web | 5" in [item["name"] for item in kept["steps"]]
    hungry = app.do("apps.run", command=["sh", "-c", "head -c 200000000 /dev/zero | tail | wc -c"])
    assert hungry["lines"] != ["200000000"], "the service's limits hold"
    assert app.call("apps.run", service="gone", command=["ls"]).code == "service_not_found"
    assert app.call("apps.run", command=[]).code == "invalid_arguments"
    assert app.call("apps.run", command=["sleep", "100"], timeout=1).code == "command_timed_out"


def test_a_command_of_the_command_line_streams_and_ends_as_it_does(app: LiveApp) -> None:
    ran = app.server.cli("run", app.name, "--service", "web", "--", "sh", "-c", "seq 3000; exit 4")
    assert ran.returncode == 4, ran.stderr
    lines = ran.stdout.splitlines()
    assert lines[-1000:] == [str(number) for number in range(2001, 3001)]
    assert len(lines) + sum(int(line[1:].split()[0]) for line in ran.stderr.splitlines() if "left out" in line) == 3000
    failed = app.server.cli("run", "no-such-app", "--", "ls")
    assert (failed.returncode, "app_not_found" in failed.stderr) == (1, True)


def test_a_server_killed_in_a_command_by_hand_removes_it(app: LiveApp) -> None:
    running = Background(app.server, "apps.run", {"appName": app.name, "command": ["sleep", "1000"]})
    eventually(lambda: len(once(app)) == 1, "it runs")
    assert app.call("deploy.restart").code == "app_busy"
    app.server.kill()
    assert running.wait() is None
    app.server.start()
    eventually(lambda: once(app) == [], "it is gone")
    eventually(lambda: app.call("deploy.restart").status == 200, "work on the app goes on")


def test_a_cancelled_command_by_hand_is_gone(app: LiveApp) -> None:
    running = Background(app.server, "apps.run", {"appName": app.name, "command": ["sleep", "1000"]})
    eventually(lambda: len(once(app)) == 1, "it runs")
    operation = next(item for item in app.do("operations.list")["operations"] if item["capability"] == "apps.run")
    app.server.do("operations.cancel", {"operationId": operation["id"]})
    answer = running.wait()
    assert answer is not None
    assert (answer.code, once(app)) == ("operation_cancelled", [])
