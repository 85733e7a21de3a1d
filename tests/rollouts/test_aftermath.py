"""A deploy that fails says what it leaves: what serves, what became of the database, and where its log is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from mcp.client.client import Client

from tests.mcp.client import over_http, refused, talk
from tests.rollouts.live_app import LiveApp, compose, new_app
from tests.support import Answer, Server

CRASHING = compose(command="[sh, -c, 'echo the pool is empty; exit 3']")
FACTS = {"releaseId", "migrationsApplied", "backup", "serving", "nextDeploy"}


@pytest.fixture(scope="module")
def app(server: Server) -> LiveApp:
    app = new_app(server, "live-aftermath")
    app.do("db.create")
    return app


@pytest.fixture
def good(app: LiveApp) -> Iterator[str]:
    """The release that serves; what a test brings besides it is taken out of the folder again."""
    yield app.deploy("good", compose())
    for path in (app.folder / "migrations").iterdir():
        if path.name not in app.do("db.status")["migrations"]["applied"]:
            path.unlink()


def broken(app: LiveApp, compose_file: str, **migrations: str) -> Answer:
    for name, sql in migrations.items():
        (app.folder / "migrations" / f"{name}.sql").write_text(sql)
    app.write("broken", compose_file)
    return app.call("deploy.up", timeout=60)


def led(app: LiveApp, answer: Answer) -> Any:
    """Return what the call comes to that an answer leads to."""
    lead = answer.body["next"]
    return app.server.do(lead["capability"], lead["arguments"])


def test_what_an_app_leaves_that_crashes_and_where_its_log_is(app: LiveApp, good: str) -> None:
    failed = broken(app, CRASHING, _001_made="CREATE TABLE made (n int);")
    assert failed.code == "deploy_failed"
    details = failed.body["details"]
    assert details.keys() >= FACTS
    assert (details["serving"], details["migrationsApplied"]) == (good, ["_001_made.sql"])
    assert details["backup"] in {path.name for path in app.server.backups.iterdir()}
    assert details["nextDeploy"] == {"migrations": [], "releaseCommand": False}
    shown = led(app, failed)
    assert (shown["id"], shown["state"]) == (details["releaseId"], "failed")
    assert any("the pool is empty" in line for line in shown["logs"])


def test_migrations_that_were_taken_back_are_applied_again_by_the_next_deploy(app: LiveApp, good: str) -> None:
    app.do("db.seed", sql="CREATE TABLE IF NOT EXISTS wide (a int, b int)")
    failed = broken(app, CRASHING, _002_narrow="ALTER TABLE wide DROP COLUMN b;")
    details = failed.body["details"]
    assert (details["serving"], details["migrationsApplied"]) == (good, [])
    assert details["nextDeploy"]["migrations"] == ["_002_narrow.sql"]
    assert details["backup"] is not None


def test_a_migration_that_fails_says_which_of_them_stay(app: LiveApp, good: str) -> None:
    failed = broken(app, compose(), _003_fine="CREATE TABLE fine (n int);", _004_wrong="SELECT wrong;")
    assert failed.code == "sql_failed"
    details = failed.body["details"]
    assert (details["serving"], details["migrationsApplied"]) == (good, ["_003_fine.sql"])
    assert details["nextDeploy"]["migrations"] == ["_004_wrong.sql"]
    assert led(app, failed)["content"] == "SELECT wrong;"


def test_the_first_deploy_that_fails_leaves_nothing_that_serves(server: Server) -> None:
    app = new_app(server, "live-never")
    failed = broken(app, CRASHING)
    details = failed.body["details"]
    assert (details["serving"], details["backup"], details["migrationsApplied"]) == (None, None, [])
    assert led(app, failed)["id"] == details["releaseId"]


def test_an_image_that_cannot_be_brought_leaves_what_served(app: LiveApp, good: str) -> None:
    failed = app.call("deploy.image", service="web", image="localhost:1/missing:1")
    assert failed.code == "deploy_failed"
    assert failed.body["details"].keys() >= FACTS
    assert failed.body["details"]["serving"] == good
    assert led(app, failed)["state"] == "failed"


def test_a_failure_is_the_same_when_it_is_waited_for(app: LiveApp, good: str) -> None:
    failed = broken(app, CRASHING)
    for capability in ("operations.get", "operations.wait"):
        operation = app.server.do(capability, {"operationId": failed.body["requestId"]})
        direct = {name: part for name, part in failed.body.items() if name not in ("success", "requestId")}
        assert operation["failure"] == direct
    quoting = app.call("db.migrate", sql="SELECT 'a secret of mine' FROM nowhere")
    waited = app.server.do("operations.get", {"operationId": quoting.body["requestId"]})["failure"]
    assert waited["error"] == quoting.body["error"] != waited["plain"] == quoting.body["plain"]


def test_a_failure_is_the_same_over_mcp(app: LiveApp, good: str) -> None:
    async def conversation(client: Client) -> None:
        failed = await refused(client, "deploy_up", appName=app.name, timeout=60)
        assert failed["next"]["tool"] == "release_show"
        shown = await client.call_tool(failed["next"]["tool"], failed["next"]["arguments"])
        assert not shown.is_error
        waited = await client.call_tool("operations_wait", {"operationId": failed["requestId"]})
        assert waited.structured_content is not None
        failure = waited.structured_content["failure"]
        assert failure.keys() == failed.keys() - {"requestId"}
        assert {name: failure[name] for name in failure if name != "details"} == {
            name: failed[name] for name in failure if name != "details"
        }
        inside = [text.split(">\n", 1)[1].rsplit("\n</", 1)[0] for text in (failure["details"], failed["details"])]
        assert json.loads(inside[0]) == json.loads(inside[1])

    app.write("broken", CRASHING)
    talk(over_http(app.server), conversation)


def test_a_command_line_can_paste_what_leads_on(app: LiveApp, good: str) -> None:
    app.write("broken", CRASHING)
    failed = app.server.cli("deploy", app.name)
    [line] = [line for line in failed.stderr.splitlines() if line.startswith("next:")]
    _, *words = line.split()
    assert words[:3] == ["ikoma", "release", app.name]
    shown = app.server.cli(*words[1:])
    assert shown.returncode == 0, shown.stderr
    assert "the pool is empty" in shown.stdout


def test_a_way_back_that_fails_leaves_what_served_and_says_so(app: LiveApp, good: str) -> None:
    version = app.folder / "src" / "health"
    version.write_text("1")
    first = app.deploy("good", compose(health="/health"))
    second = app.deploy("good", compose())
    for path in (app.folder / ".ikoma" / "releases" / first / "tree").rglob("health"):
        path.unlink()
    failed = app.call("deploy.rollback", to=first, timeout=20)
    assert failed.code == "deploy_failed", failed.body
    details = failed.body["details"]
    assert (details["releaseId"], details["serving"], details["migrationsApplied"]) == (first, second, [])
    assert failed.body["next"]["capability"] == "apps.status"
