"""deploy.plan of a rollback: what it would do, and lose, said before it is done; and a rollback that holds to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.apps import make_app
from tests.support import Server, eventually, free_port

APP = "planned-back"


@pytest.fixture(scope="module")
def folder(server: Server) -> Iterator[Path]:
    """An app that has been deployed twice, the second time with a migration that can be undone."""
    made = make_app(server, APP)
    server.do("db.create", {"appName": APP})
    migrations = made / "migrations"
    (migrations / "001_shop.sql").write_text(
        "CREATE TABLE shop (id int); INSERT INTO shop SELECT generate_series(1, 3);"
    )
    server.do("deploy.up", {"appName": APP})
    (migrations / "002_note.sql").write_text(
        "ALTER TABLE shop ADD COLUMN note text; CREATE TABLE basket (id int); INSERT INTO basket VALUES (1);"
    )
    (migrations / "002_note.down.sql").write_text(
        "ALTER TABLE shop DROP COLUMN note; DELETE FROM shop WHERE id < 0; DROP TABLE basket;"
    )
    (made / "src" / "ok").write_text("two\n")
    server.do("deploy.up", {"appName": APP})
    yield made
    server.do("apps.remove", {"appName": APP})


def planned(server: Server, **wanted: Any) -> Any:
    return server.do("deploy.plan", {"appName": APP, "rollback": True, **wanted}, role="observer")


def releases(server: Server) -> list[Any]:
    found: list[Any] = server.do("release.list", {"appName": APP})["releases"]
    return found


def serving(server: Server) -> str:
    [found] = [item["id"] for item in releases(server) if item["current"]]
    return str(found)


def refusal(server: Server, capability: str, **arguments: Any) -> tuple[str | None, int]:
    answer = server.call(capability, {"appName": APP, **arguments})
    return answer.code, answer.status


def seed(server: Server, sql: str) -> None:
    server.do("db.seed", {"appName": APP, "sql": sql})


def test_it_says_where_it_leads_and_what_becomes_of_each_service(server: Server, folder: Path) -> None:
    before, now = sorted(item["id"] for item in releases(server))
    found = planned(server)
    assert (found["valid"], found["findings"], found["migrations"]) == (True, [], [])
    assert found["rollback"] == {
        "release": before,
        "database": "The database stays as it is.",
        "lost": [],
        "undone": [],
        "stay": ["001_shop.sql", "002_note.sql"],
    }
    assert "next" not in found or found["next"] is None  # an observer cannot roll back
    may = server.do("deploy.plan", {"appName": APP, "rollback": True}, role="operator")
    assert may["next"] == {"capability": "deploy.rollback", "arguments": {"appName": APP, "plan": found["plan"]}}
    assert [(item["service"], item["action"], item["reasons"]) for item in found["changes"]] == [
        ("web", "replace", ["src has changed", "its containers of that release are kept, and start again"])
    ]
    assert found["source"]["changed"] == ["src/ok"]
    assert found["source"]["removed"] == ["migrations/002_note.down.sql", "migrations/002_note.sql"]
    assert found["downtime"] == [
        {"service": "web", "expected": "none", "reason": "Old and new run side by side."},
    ]
    assert serving(server) == now


def test_down_migrations_are_named_with_what_they_drop(server: Server, folder: Path) -> None:
    found = planned(server, database=True)
    assert found["rollback"]["database"].startswith("Undone by its down-migration: 002_note.sql.")
    assert found["rollback"]["lost"] == [
        "the column shop.note, of 3 rows",
        "rows of shop",
        "the table basket, with 1 row",
    ]
    assert (found["rollback"]["undone"], found["rollback"]["stay"]) == (["002_note.sql"], ["001_shop.sql"])
    [away] = found["downtime"]
    assert away["expected"] == "until the new one is healthy"
    assert "the database is taken back" in away["reason"]


def test_a_plan_of_before_is_refused_and_one_of_now_is_done(server: Server, folder: Path) -> None:
    now = serving(server)
    plain, whole = planned(server)["plan"], planned(server, database=True)["plan"]
    assert plain != whole
    for wrong, wanted in ((whole, {}), (plain, {"database": True})):
        assert refusal(server, "deploy.rollback", plan=wrong, **wanted) == ("plan_drifted", 409)
    server.do("deploy.restart", {"appName": APP})
    assert refusal(server, "deploy.rollback", plan=plain) == ("plan_drifted", 409)
    assert serving(server) == now
    made = planned(server)
    # Where the database stays nobody is asked: nothing is lost for good.
    answer = server.do("deploy.rollback", {"appName": APP, "plan": made["plan"]}, headers={"X-Confirm": "ask"})
    assert answer["details"]["release"] == made["rollback"]["release"] == serving(server)
    server.do("deploy.rollback", {"appName": APP})
    assert serving(server) == now


def test_a_restore_says_how_many_rows_each_table_had(server: Server, folder: Path) -> None:
    before = serving(server)
    (folder / "migrations" / "003_gone.sql").write_text(
        "ALTER TABLE shop DROP COLUMN note; CREATE TABLE late (id int);"
    )
    server.do("deploy.up", {"appName": APP})
    seed(server, "INSERT INTO shop VALUES (4), (5); INSERT INTO late VALUES (1);")
    refused = planned(server)
    assert refused["valid"] is False
    assert "changed what" in refused["findings"][0]
    assert '"database": true' in refused["findings"][0]
    found = planned(server, database=True)
    assert found["valid"] is True
    assert f"{APP}-" in found["rollback"]["database"]
    assert "what was written since is lost" in found["rollback"]["database"]
    assert found["rollback"]["undone"] == ["003_gone.sql"]
    assert found["rollback"]["stay"] == ["001_shop.sql", "002_note.sql"]
    assert found["rollback"]["lost"] == [
        "basket: 1 row now, 1 row in the backup",
        "late: 1 row now, no such table in the backup",
        "shop: 5 rows now, 3 rows in the backup",
    ]
    wanted = {"appName": APP, "database": True, "plan": found["plan"]}
    asked = server.call("deploy.rollback", wanted, headers={"X-Confirm": "ask"})
    assert asked.code == "confirmation_needed"
    assert asked.body["details"]["lost"] == found["rollback"]["lost"]
    answer = server.do("deploy.rollback", wanted | {"confirmation": asked.body["details"]["confirmation"]})
    assert answer["details"]["release"] == before
    assert answer["details"]["database"] == found["rollback"]["database"]
    rows = server.do("db.query", {"appName": APP, "sql": "SELECT count(*) FROM shop"})["rows"]
    assert rows == [[3]]


def test_where_nothing_leads_back_it_says_so(server: Server, folder: Path) -> None:
    oldest = min(item["id"] for item in releases(server))
    seed(server, "SELECT 1;")
    server.do("db.migrate", {"appName": APP, "sql": "CREATE TABLE unknown (id int);"})
    for backup in server.backups.glob(f"{APP}-*"):
        backup.unlink()
    found = planned(server, to=oldest, database=True)
    assert found["valid"] is False
    assert "cannot go back" in found["findings"][0]
    assert found["rollback"]["lost"] == []


@pytest.mark.parametrize(
    ("wanted", "code", "status"),
    [
        ({"rollback": False, "database": True}, "invalid_arguments", 422),
        ({"rollback": False, "to": "20200101-000000-abcd"}, "invalid_arguments", 422),
        ({"to": "20200101-000000-1234"}, "release_not_found", 404),
        ({"plan": "0" * 64}, "invalid_arguments", 422),
    ],
)
def test_what_makes_no_sense_is_refused(server: Server, folder: Path, wanted: Any, code: str, status: int) -> None:
    assert refusal(server, "deploy.plan", **{"rollback": True, **wanted}) == (code, status)


def test_there_is_no_plan_to_go_to_what_serves(server: Server, folder: Path) -> None:
    assert refusal(server, "deploy.plan", rollback=True, to=serving(server)) == ("already_serving", 409)


def test_what_another_has_by_now_stands_in_the_way(server: Server, folder: Path) -> None:
    compose, port = f"{(folder / 'docker-compose.yml').read_text()}  watch: 0s\n", free_port()
    wishes = compose.replace(
        "    init: true", f"    init: true\n    ports: ['{port}:3000']\n    container_name: way-back"
    )
    (folder / "docker-compose.yml").write_text(f"{wishes}  domains: [way-back.example.com]\n")
    before = server.do("deploy.up", {"appName": APP})["details"]["release"]
    (folder / "docker-compose.yml").write_text(compose)
    server.do("deploy.up", {"appName": APP})
    assert planned(server)["findings"] == []
    other = make_app(server, f"{APP}-other", compose=wishes.replace("{", "{{").replace("}", "}}"))
    eventually(lambda: server.do("apps.validate", {"appName": other.name})["valid"], "what was replaced is gone")
    server.do("deploy.up", {"appName": other.name})
    server.do("domain.add", {"appName": other.name, "domain": "way-back.example.com"})
    found = planned(server)
    server.do("apps.remove", {"appName": other.name})
    assert (found["rollback"]["release"], found["valid"]) == (before, False)
    assert found["findings"] == [
        "The domain way-back.example.com belongs to another app.",
        f"Host port {port} is used by the app {other.name}.",
        f"The container name way-back is taken by the app {other.name}.",
    ]
