"""deploy.plan: what a deploy would do, said before it is done; and a deploy that refuses a plan of yesterday."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.apps import COMPOSE, SERVE, make_app
from tests.images import busybox_image
from tests.support import Server

APP = "planned"
MORE = """  job: {{image: {image}, command: ["true"]}}
  worker:
    image: {image}
    command: [sleep, "1000"]
    mem_limit: 256m
    init: true
    volumes: ["store:/store"]
    depends_on: {{job: {{condition: service_completed_successfully}}}}
volumes: {{store: {{}}}}
x-ikoma:"""


@pytest.fixture(scope="module")
def made(server: Server) -> Iterator[Path]:
    """An app with a database and three services."""
    folder = make_app(server, APP, compose=COMPOSE.replace("x-ikoma:", MORE))
    server.do("db.create", {"appName": APP})
    (folder / "migrations" / "001_shop.sql").write_text("CREATE TABLE shop (id int, gone int);")
    yield folder
    server.do("apps.remove", {"appName": APP})


@pytest.fixture
def folder(server: Server, made: Path) -> Iterator[Path]:
    """The app's folder as it is deployed; whatever a test changes in it is undone."""
    compose = (made / "docker-compose.yml").read_text()
    server.do("deploy.up", {"appName": APP})
    yield made
    (made / "docker-compose.yml").write_text(compose)
    shutil.rmtree(made / "src")
    (made / "src").mkdir()
    (made / "src" / "ok").write_text("ok\n")


def plan(server: Server) -> Any:
    return server.do("deploy.plan", {"appName": APP}, role="observer")


def actions(found: Any) -> dict[str, str]:
    return {item["service"]: item["action"] for item in found["changes"]}


RUNS_AGAIN = "it runs again with each deploy"
AS_IT_IS = {"web": "keep", "job": "replace", "worker": "keep"}


def edit(folder: Path, old: str, new: str) -> None:
    compose = folder / "docker-compose.yml"
    text = compose.read_text()
    assert old in text
    compose.write_text(text.replace(old, new))


def test_where_nothing_has_changed_nothing_is_planned(server: Server, folder: Path) -> None:
    found = plan(server)
    assert found["valid"] is True
    assert actions(found) == AS_IT_IS
    assert [item["reasons"] for item in found["changes"] if item["service"] == "job"] == [[RUNS_AGAIN]]
    assert {item["expected"] for item in found["downtime"]} == {"none"}
    assert (found["migrations"], found["source"]["count"], found["findings"], found["rest"]) == ([], 0, [], [])
    assert plan(server)["plan"] == found["plan"]
    assert "2 running as deployed" in str(server.do("artifact.verify_release", {"appName": APP}))


def test_what_the_ledger_or_the_parser_knows_of_migrations_stops_a_deploy_before_it_begins(
    server: Server, folder: Path
) -> None:
    file, later = folder / "migrations" / "001_shop.sql", folder / "migrations" / "002_later.sql"
    before, id_before = file.read_text(), server.do("release.list", {"appName": APP})["releases"][0]["id"]

    def refused() -> list[str]:
        found = server.do("apps.validate", {"appName": APP})
        said = [f"{item['file']}:{item['line']}: {item['problem']}" for item in found["errors"]]
        planned = plan(server)
        assert (found["valid"], planned["valid"], len(planned["findings"])) == (not said, not said, len(said))
        if said:
            answer = server.call("deploy.up", {"appName": APP})
            assert (answer.code, len(answer.body["details"]["errors"])) == ("sql_failed", len(said))
            assert server.do("release.list", {"appName": APP})["releases"][0]["id"] == id_before
        return said

    assert refused() == []
    file.write_text(f"{before} -- later")
    assert refused() == ["migrations/001_shop.sql:None: It was applied before, and has been changed since."]
    file.rename(later)
    assert refused() == [
        "migrations/001_shop.sql:None: It was applied before, and the file is not there any more.",
    ]
    file.write_text(before)
    (folder / "migrations" / "000_early.sql").write_text("SELECT 1;")
    assert refused() == [
        "migrations/000_early.sql:None: It is not applied, and 001_shop.sql, which comes after it, is.",
    ]
    (folder / "migrations" / "000_early.sql").unlink()
    later.write_text("CREATE TABLE later (\n  id int NOT NUL,\n  ok boolean\n);")
    (folder / "migrations" / "003_more.sql").write_text("SELECT 1;\nVACUUM;\nCREATE ROLE somebody;")
    (folder / "migrations" / "004_latin.sql").write_bytes(b"SELECT '\xe9';")
    assert refused() == [
        'migrations/002_later.sql:2: Syntax error at or near "NUL".',
        "migrations/003_more.sql:2: VACUUM cannot run in a transaction, and each migration is one.",
        "migrations/003_more.sql:3: CREATE ROLE makes a role, which an app's role may not.",
        "migrations/004_latin.sql:None: migrations/004_latin.sql is not UTF-8: invalid continuation byte at byte 8.",
    ]
    for name in ("002_later", "003_more", "004_latin"):
        (folder / "migrations" / f"{name}.sql").unlink()
    assert refused() == []


def test_each_change_is_named_with_its_reason_and_its_downtime(server: Server, folder: Path) -> None:
    before = plan(server)["plan"]
    (folder / "src" / "ok").write_text("changed\n")
    (folder / "src" / "more").write_text("x" * 5000)
    edit(folder, '[sleep, "1000"]\n    mem_limit: 256m', '[sleep, "2000"]\n    mem_limit: 128m')
    edit(folder, "  job:", "  extra: {image: nowhere.example.com/extra:1}\n  job:")
    found = plan(server)
    assert found["plan"] != before
    assert actions(found) == {"web": "replace", "job": "replace", "worker": "replace", "extra": "add"}
    by_service = {item["service"]: item for item in found["changes"]}
    assert by_service["web"]["reasons"] == ["src has changed"]
    assert by_service["worker"]["reasons"] == ["command changed", "mem_limit: 268435456 → 134217728"]
    assert by_service["extra"]["image"] == "pull"
    assert found["source"]["added"] == ["src/more"]
    assert found["source"]["changed"] == ["src/ok"]
    assert found["source"]["bytes"] >= 5000
    downtime = {item["service"]: (item["expected"], item["reason"]) for item in found["downtime"]}
    assert downtime["web"][0] == "none"
    assert downtime["worker"][0] == "until the new one is healthy"
    assert "store" in downtime["worker"][1]


def test_migrations_are_listed_with_their_locks_and_what_cannot_live_with_them(server: Server, folder: Path) -> None:
    migration = folder / "migrations" / "002_drop.sql"
    migration.write_text("ALTER TABLE shop DROP COLUMN gone;")
    found = plan(server)
    [listed] = found["migrations"]
    assert (listed["name"], listed["compatible"]) == ("002_drop.sql", False)
    assert "AccessExclusiveLock" in str(listed["locks"]) or "ACCESS EXCLUSIVE" in str(listed["locks"])
    assert set(actions(found).values()) == {"replace"}
    assert all("it cannot run with 002_drop.sql" in item["reasons"] for item in found["changes"])
    assert {item["expected"] for item in found["downtime"]} == {"until the new one is healthy"}
    migration.write_text("CREATE TABLE later (id int);")
    found = plan(server)
    assert [item["compatible"] for item in found["migrations"]] == [True]
    assert actions(found) == AS_IT_IS
    migration.unlink()


def test_a_service_that_is_gone_and_one_that_does_not_run_are_said(server: Server, folder: Path) -> None:
    text = (folder / "docker-compose.yml").read_text()
    start, end = text.index("  job:"), text.index("volumes: {store")
    (folder / "docker-compose.yml").write_text(text[:start] + text[end:])
    found = plan(server)
    assert actions(found) == {"web": "keep", "job": "remove", "worker": "remove"}
    assert {item["expected"] for item in found["downtime"] if item["service"] == "worker"} == {"for good"}
    (folder / "docker-compose.yml").write_text(text)
    server.do("deploy.down", {"appName": APP})
    reasons = {item["service"]: item["reasons"] for item in plan(server)["changes"]}
    assert reasons == {"web": ["it does not run"], "job": [RUNS_AGAIN], "worker": ["it does not run"]}


def test_findings_and_what_makes_a_deploy_impossible_are_in_the_plan(server: Server, folder: Path) -> None:
    edit(folder, "    init: true\n    volumes", "    init: true\n    privileged: true\n    volumes")
    found = plan(server)
    assert found["valid"] is False
    assert "privileged" in str(found["findings"])
    assert found["changes"] == []
    assert server.call("deploy.up", {"appName": APP, "plan": found["plan"]}).code == "policy_violation"


@pytest.mark.parametrize("change", ["source", "variables", "compose", "containers", "database"])
def test_a_plan_of_yesterday_is_refused_and_nothing_changes(server: Server, folder: Path, change: str) -> None:
    known = plan(server)["plan"]
    if change == "source":
        (folder / "src" / "ok").write_text(f"{time.time()}\n")
    elif change == "variables":
        server.do("env.set", {"appName": APP, "name": "SINCE", "value": str(time.time())})
    elif change == "compose":
        edit(
            folder,
            f"image: {busybox_image()}\n    command: {SERVE}",
            f"image: {busybox_image()}\n    command: {SERVE} ",
        )
        edit(folder, "retries: 3", "retries: 4")
    elif change == "containers":
        server.do("deploy.restart", {"appName": APP})
    else:
        server.do("db.migrate", {"appName": APP, "sql": f"CREATE TABLE at_{time.time_ns()} (id int)"})
    before = server.do("apps.status", {"appName": APP})
    refused = server.call("deploy.up", {"appName": APP, "plan": known})
    assert (refused.status, refused.code) == (409, "plan_drifted")
    assert server.do("apps.status", {"appName": APP}) == before
    now = plan(server)["plan"]
    assert server.do("deploy.up", {"appName": APP, "plan": now})["success"] is True


def test_a_plan_says_no_secret_and_takes_no_nonsense(server: Server, folder: Path) -> None:
    server.do("env.set", {"appName": APP, "name": "API_TOKEN", "value": "hunter2-of-the-plan"})
    edit(folder, '["true"]', '["true", "${API_TOKEN}"]')
    found = plan(server)
    assert actions(found)["job"] == "replace"
    assert "hunter2" not in json.dumps(found)
    for nonsense in ("", "x", "0" * 63, 7):
        assert server.call("deploy.up", {"appName": APP, "plan": nonsense}).code == "invalid_arguments"
    assert server.call("deploy.up", {"appName": APP, "plan": "0" * 64}).code == "plan_drifted"


def test_it_is_said_which_folders_are_data(server: Server, folder: Path) -> None:
    (folder / "src" / "uploads").mkdir()
    edit(folder, '["store:/store"]', '["store:/store", "./src/uploads:/uploads"]')
    found = server.do("apps.validate", {"appName": APP})
    kinds = {item["path"]: (item["kind"], item["reason"]) for item in found["folders"]}
    writer = kinds["src/uploads"][1].removesuffix(" may write it")
    assert kinds == {"src": ("source", "it is only read"), "src/uploads": ("data", f"{writer} may write it")}
    assert plan(server)["folders"] == found["folders"]
    edit(folder, "x-ikoma:\n", "x-ikoma:\n  source: [src/uploads]\n")
    assert "goes with the release" in str(server.do("apps.validate", {"appName": APP})["folders"])
