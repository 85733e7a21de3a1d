"""Failures lead on: what each names next is there, can be called by this very key, and works."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from mcp.client.client import Client

from tests import support
from tests.mcp.client import over_http, said, talk
from tests.mcp.evaluation.goals import with_database
from tests.support import Server

NAME = "mcp-leads"
FAILURES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("apps_status", {"appName": "mcp-nowhere"}),
    ("apps_logs", {"service": "nothing"}),
    ("files_read", {"path": "src/nothing.py"}),
    ("files_edit", {"path": "src/app.py", "old": "not in it", "new": "x"}),
    ("files_write", {"path": "src/app.py", "content": "x", "sha256": "0" * 64}),
    ("db_query", {"sql": "SELECT nothing FROM nowhere"}),
    ("db_query", {"sql": "DELETE FROM orders"}),
    ("db_migrate", {"sql": "CREATE TABEL x ()"}),
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
)
OBSERVER = tuple(failure for failure in FAILURES if failure[0] in ("apps_status", "apps_logs", "release_show"))


@pytest.fixture(scope="module")
def deployed() -> Iterator[Server]:
    with support.server() as server:
        with_database(server, NAME)
        server.do("db.backup", {"appName": NAME, "backupName": "twice.sql"})
        yield server
        support.stop_apps(server)


def led(house: Server, tool: str, arguments: dict[str, Any], **who: Any) -> tuple[dict[str, Any], Any]:
    """What a failure says, and what the call that it names comes to."""

    async def conversation(client: Client) -> tuple[dict[str, Any], Any]:
        listed = {item.name for item in (await client.list_tools()).tools}
        takes_app = not tool.startswith("operations_")
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
