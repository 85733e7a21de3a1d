"""Failures lead on: what each names next is there, can be called by this very key, and works."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from mcp.client.client import Client

from tests import support
from tests.mcp.client import over_http, said, talk
from tests.mcp.evaluation.goals import with_database
from tests.support import Server

NAME = "mcp-leads"
_BACK = "ALTER TABLE orders RENAME COLUMN item TO what;\n"
FAILURES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("apps_status", {"appName": "mcp-nowhere"}),
    ("apps_logs", {"service": "nothing"}),
    ("files_read", {"path": "src/nothing.py"}),
    ("files_edit", {"path": "src/app.py", "old": "not in it", "new": "x"}),
    ("files_write", {"path": "src/app.py", "content": "x", "sha256": "0" * 64}),
    ("db_query", {"sql": "SELECT nothing FROM nowhere"}),
    ("db_migrate", {"sql": "ALTER TABLE nowhere ADD COLUMN x int"}),
    ("db_migrate", {"file": "999_nothing.sql"}),
    ("db_backup", {"backupName": "twice.sql"}),
    ("deploy_rollback", {"to": "20200101-000000-0000"}),
    ("deploy_rollback", {}),
    ("release_show", {"release": "20200101-000000-0000"}),
    ("deploy_up", {"plan": "0" * 64}),
    ("deploy_scale", {"service": "nothing", "replicas": 2}),
    ("operations_get", {"operationId": "nothing"}),
    ("domain_remove", {"domain": "shop.example.com"}),
    ("files_restore", {"path": "src/nothing.py"}),
    ("source_checkout", {"ref": "main"}),
    ("hook_deploy", {}),
    ("policy_unwaive", {"id": "waiver_0123456789ab"}),
    ("keys_rotate", {"id": "key_0123456789ab"}),
    ("approvals_deny", {"id": "approval_0123456789ab"}),
)
NOWHERE: tuple[tuple[str, dict[str, Any]], ...] = (
    ("db_query", {"sql": "DELETE FROM orders"}),
    ("db_query", {"sql": "SELECT nothing FROM orders"}),
    ("db_query", {"sql": "SELEC 1"}),
    ("db_migrate", {"sql": "CREATE TABEL x ()"}),
    ("db_seed", {"sql": "INSERT INTO orders (nothing) VALUES (1)"}),
    ("deploy_scale", {"service": "web", "replicas": 0}),
)
"""Mistakes that the message explains, and no other call."""
OBSERVER = tuple(failure for failure in FAILURES if failure[0] in ("apps_status", "apps_logs", "release_show"))


@pytest.fixture(scope="module")
def deployed() -> Iterator[Server]:
    with support.server() as server:
        with_database(server, NAME)
        server.do("db.backup", {"appName": NAME, "backupName": "twice.sql"})
        yield server
        support.stop_apps(server)


def led(house: Server, tool: str, arguments: dict[str, Any], **who: Any) -> tuple[dict[str, Any], Any]:
    """Return what a failure says, and what the call that it names comes to."""

    async def conversation(client: Client) -> tuple[dict[str, Any], Any]:
        listed = {item.name for item in (await client.list_tools()).tools}
        takes_app = not tool.startswith(("operations_", "keys_", "approvals_"))
        result = await client.call_tool(tool, ({"appName": NAME} if takes_app else {}) | arguments)
        assert result.is_error, result.content
        failure = said(result)
        assert "next" in failure, failure
        assert failure["next"]["tool"] in listed
        return failure, await client.call_tool(failure["next"]["tool"], failure["next"]["arguments"])

    return talk(over_http(house, query="?toolsets=all", **who), conversation)


@pytest.mark.parametrize(("tool", "arguments"), FAILURES, ids=lambda value: value if isinstance(value, str) else "")
def test_a_failure_names_a_call_that_works(deployed: Server, tool: str, arguments: dict[str, Any]) -> None:
    failure, answer = led(deployed, tool, arguments)
    assert not answer.is_error, (failure, said(answer))
    if "path" in arguments and failure["next"]["tool"] == "files_read":
        assert failure["next"]["arguments"]["path"] == arguments["path"]


@pytest.mark.parametrize(("tool", "arguments"), OBSERVER, ids=lambda value: value if isinstance(value, str) else "")
def test_a_failure_names_what_this_very_key_may_call(deployed: Server, tool: str, arguments: dict[str, Any]) -> None:
    _, answer = led(deployed, tool, arguments, role="observer")
    assert not answer.is_error, said(answer)


def test_a_mistake_that_no_call_explains_leads_nowhere(deployed: Server) -> None:
    async def conversation(client: Client) -> dict[str, Any]:
        return {
            str(arguments): said(await client.call_tool(tool, {"appName": NAME, **arguments})).get("next")
            for tool, arguments in NOWHERE
        }

    assert set(talk(over_http(deployed, query="?toolsets=all"), conversation).values()) == {None}


def test_sql_of_a_file_leads_to_that_file(deployed: Server) -> None:
    for tool, folder in (("db_migrate", "migrations"), ("db_seed", "seeds"), ("deploy_up", "migrations")):
        path = f"{folder}/009_wrong.sql"
        deployed.do("files.write", {"appName": NAME, "path": path, "content": "INSERT INTO orders (no) VALUES (1);\n"})
        try:
            failure, _ = led(deployed, tool, {} if tool != "db_seed" else {"file": "009_wrong.sql"})
            assert failure["code"] == "sql_failed", failure
            assert failure["next"] == {"tool": "files_read", "arguments": {"appName": NAME, "path": path}}, tool
        finally:
            deployed.do("files.delete", {"appName": NAME, "path": path})


def test_a_migration_that_was_changed_leads_to_what_it_was(deployed: Server) -> None:
    file = {"appName": NAME, "path": "migrations/001_orders.sql"}
    former = deployed.do("files.read", file)["content"]
    deployed.do("files.write", {**file, "content": f"{former}-- another\n"})
    try:
        failure, answer = led(deployed, "db_migrate", {})
        assert (failure["code"], failure["next"]["tool"]) == ("migration_changed", "files_history")
        assert len(answer.structured_content["versions"]) == 1
    finally:
        deployed.do("files.write", {**file, "content": former})


def test_a_rollback_that_cannot_be_planned_leads_on_and_names_its_app(deployed: Server) -> None:
    column = {"appName": NAME, "path": "migrations/002_column.sql"}
    deployed.do("files.write", {**column, "content": "ALTER TABLE orders RENAME COLUMN what TO item;\n"})
    deployed.do("files.write", {"appName": NAME, "path": "migrations/002_column.down.sql", "content": _BACK})
    deployed.do("deploy.up", {"appName": NAME})
    known = deployed.do("release.list", {"appName": NAME})["releases"]
    former = next(item["id"] for item in known if item["state"] == "succeeded" and not item["current"])
    both = {"appName": NAME, "to": former, "database": True}
    refused = asked(deployed, "deploy_plan", appName=NAME, rollback=True)
    assert refused["valid"] is False
    assert f"deploy_rollback {json.dumps(both, separators=(',', ':'))}" in str(refused["findings"])
    assert refused["next"] == {"tool": "deploy_plan", "arguments": {"rollback": True, **both}}
    planned = asked(deployed, "deploy_plan", **refused["next"]["arguments"])
    assert planned["valid"] is True
    assert planned["next"]["tool"] == "deploy_rollback"
    failure, _ = led(deployed, "deploy_rollback", {})
    assert failure["next"] == refused["next"]
    assert f'"appName":"{NAME}"' in failure["hint"]
    over_http_too = deployed.call("deploy.rollback", {"appName": NAME})
    assert f"deploy.rollback {json.dumps(both)}" in over_http_too.body["hint"]
    deployed.do("deploy.rollback", both)


@pytest.mark.parametrize("query", ["", "?toolsets=deploy", "?toolsets=files,db"])
def test_a_client_is_led_only_to_tools_that_it_lists(deployed: Server, query: str) -> None:
    calls = [*FAILURES, ("apps_status", {}), ("apps_health", {}), ("artifact_verify_release", {}), ("deploy_plan", {})]

    async def conversation(client: Client) -> tuple[set[str], list[str]]:
        led = []
        for tool, arguments in calls:
            takes_app = not tool.startswith(("operations_", "keys_", "approvals_"))
            answer = await client.call_tool(tool, ({"appName": NAME} if takes_app else {}) | arguments)
            told = said(answer) if answer.is_error else answer.structured_content or {}
            led += [told["next"]["tool"]] if "next" in told else []
        return {item.name for item in (await client.list_tools()).tools}, led

    listed, led = talk(over_http(deployed, query=query), conversation)
    assert led
    assert set(led) <= listed


def test_findings_of_a_migration_lead_to_the_file_that_has_them(deployed: Server) -> None:
    wrong = {"appName": NAME, "path": "migrations/009_wrong.sql"}
    deployed.do("files.write", {**wrong, "content": "CREATE TABEL x ();\n"})
    try:
        failure, answer = led(deployed, "deploy_up", {})
        assert failure["code"] == "sql_failed"
        assert failure["next"] == {"tool": "apps_validate", "arguments": {"appName": NAME}}
        assert answer.structured_content["next"] == {"tool": "files_read", "arguments": wrong}
        planned = asked(deployed, "deploy_plan", appName=NAME)
        assert planned["next"] == failure["next"]
    finally:
        deployed.do("files.delete", wrong)


def test_what_was_stopped_is_started_by_the_call_that_leads_on(deployed: Server) -> None:
    deployed.do("deploy.down", {"appName": NAME})
    try:
        for tool in ("apps_status", "apps_health", "artifact_verify_release"):
            found = asked(deployed, tool, appName=NAME)
            assert found["next"] == {"tool": "deploy_restart", "arguments": {"appName": NAME}}, tool
            assert "next" not in asked(deployed, tool, role="observer", appName=NAME)
    finally:
        deployed.do("deploy.restart", {"appName": NAME})
    assert "next" not in asked(deployed, "apps_status", appName=NAME)


def test_a_failure_that_was_waited_for_leads_where_it_leads_at_once(deployed: Server) -> None:
    deployed.call("deploy.scale", {"appName": NAME, "service": "nothing", "replicas": 2})
    failed = next(item for item in deployed.do("operations.list", {"appName": NAME})["operations"])
    failure, _ = led(deployed, "deploy_scale", {"service": "nothing", "replicas": 2})
    for tool in ("operations_get", "operations_wait"):
        found = asked(deployed, tool, operationId=failed["id"])
        assert found["next"] == found["failure"]["next"] == failure["next"]
        assert found["failure"] == {name: value for name, value in failure.items() if name != "requestId"}


def test_a_path_leads_to_its_folder_and_to_what_is_kept_of_it(deployed: Server) -> None:
    missing, _ = led(deployed, "files_read", {"path": "src/nothing.py"})
    assert missing["next"]["arguments"] == {"appName": NAME, "path": "src"}
    full, _ = led(deployed, "files_delete", {"path": "src"})
    assert full["next"] == missing["next"]
    deployed.do("files.write", {"appName": NAME, "path": "src/kept.txt", "content": "one"})
    deployed.do("files.delete", {"appName": NAME, "path": "src/kept.txt"})
    kept, answer = led(deployed, "files_restore", {"path": "src/kept.txt", "version": "nothing"})
    assert kept["next"]["arguments"] == {"appName": NAME, "path": "src/kept.txt"}
    assert len(answer.structured_content["versions"]) == 1


def test_an_edit_of_what_was_changed_meanwhile_says_so_first(deployed: Server) -> None:
    changed, _ = led(deployed, "files_edit", {"path": "src/app.py", "old": "not in it", "new": "x", "sha256": "0" * 64})
    assert changed["code"] == "file_changed"


@pytest.mark.parametrize("role", ["observer", "operator", "builder", "admin"])
def test_a_server_tells_each_key_the_tools_that_it_can_call(deployed: Server, role: str) -> None:
    async def conversation(client: Client) -> tuple[set[str], set[str]]:
        answer = await client.call_tool("platform_info", {})
        assert answer.structured_content is not None
        listed = {item.name for item in (await client.list_tools()).tools}
        return listed, set(answer.structured_content["capabilities"])

    listed, told = talk(over_http(deployed, query="?toolsets=all", role=role), conversation)
    assert told == listed


def asked(house: Server, tool: str, role: str | None = None, **arguments: Any) -> dict[str, Any]:
    """The fields of an answer."""

    async def conversation(client: Client) -> dict[str, Any]:
        answer = await client.call_tool(tool, arguments)
        assert not answer.is_error, said(answer)
        return dict(answer.structured_content or {})

    return talk(over_http(house, role=role), conversation)
