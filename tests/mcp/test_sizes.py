"""Answers' cost for a model, on an app that really runs; neither the text nor the fields lack what matters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from mcp.client.client import Client

from tests import support
from tests.mcp.client import over_http, talk, text_of
from tests.mcp.evaluation.goals import EVIL, with_database
from tests.support import Server

NAME = "mcp-sized"
MOST_OF_AN_OPERATION = 400


@pytest.fixture(scope="module")
def deployed() -> Iterator[Server]:
    with support.server() as server:
        with_database(server, NAME)
        yield server
        support.stop_apps(server)


def asked(house: Server, tool: str, **arguments: Any) -> tuple[str, dict[str, Any]]:
    """The text and the fields of an answer."""

    async def conversation(client: Client) -> tuple[str, dict[str, Any]]:
        result = await client.call_tool(tool, arguments)
        assert not result.is_error, text_of(result)
        return text_of(result), result.structured_content or {}

    return talk(over_http(house), conversation)


def tokens(value: str | dict[str, Any]) -> int:
    return len(value if isinstance(value, str) else orjson.dumps(value)) // 4


def test_an_operation_costs_little_and_tells_its_result_once(deployed: Server) -> None:
    listed = deployed.do("operations.list", {"appName": NAME})["operations"]
    deploy = next(item["id"] for item in listed if item["capability"] == "deploy.up")
    text, fields = asked(deployed, "operations_get", operationId=deploy)
    assert max(tokens(text), tokens(fields)) <= MOST_OF_AN_OPERATION
    release = fields["result"]["details"]["release"]
    assert orjson.dumps(fields).decode().count(release) == 2, "in its message, and in its details"
    assert release in text
    assert len(fields["steps"]) == 6


@pytest.mark.parametrize(
    ("tool", "more", "matters"),
    [
        ("apps_status", {}, (NAME, "healthy", "http://")),
        ("apps_list", {}, (NAME, "healthy")),
        ("artifact_verify_release", {}, ("Verified", "alerts")),
        ("apps_validate", {}, ("Valid", "deploy_up")),
        ("release_list", {}, ("succeeded", "current")),
        ("release_show", {}, ("succeeded", "001_orders.sql")),
        ("db_status", {}, ("orders", "1 migration applied")),
        ("files_list", {"recursive": True}, ("src/app.py", "migrations/001_orders.sql")),
    ],
)
def test_a_text_says_what_matters_and_is_shorter_than_the_fields(
    deployed: Server, tool: str, more: dict[str, Any], matters: tuple[str, ...]
) -> None:
    arguments = more if tool == "apps_list" else {"appName": NAME, **more}
    text, fields = asked(deployed, tool, **arguments)
    assert [word for word in matters if word not in text] == []
    assert len(text) < len(orjson.dumps(fields))
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(text)


def test_rows_are_rows_in_the_fields_and_lines_in_the_text(deployed: Server) -> None:
    text, fields = asked(deployed, "db_query", appName=NAME, sql="SELECT id, what FROM orders ORDER BY id")
    rows = [dict(zip(fields["columns"], row, strict=True)) for row in fields["rows"]]
    assert rows == [{"id": 1, "what": "tea"}, {"id": 2, "what": EVIL}, {"id": 3, "what": "cake"}]
    names = list(fields)
    fence = next(name for name in names if name.startswith("<untrusted-"))
    assert names.index(fence) < names.index("rows") < names.index(fence.replace("<", "</"))
    assert f"2 | {EVIL}" in text.partition("<untrusted-")[2]
    assert EVIL not in text.partition("<untrusted-")[0]


@pytest.mark.parametrize(
    ("tool", "more", "matters"),
    [
        ("files_read", {"path": "src/app.py"}, "serve_forever()"),
        ("apps_logs", {}, "it listens on 3000"),
        ("artifact_generate_runbook", {}, f"{NAME}"),
        ("apps_env_example", {}, "POSTGRES_USER"),
    ],
)
def test_a_text_that_is_the_answer_comes_once_and_whole(
    deployed: Server, tool: str, more: dict[str, Any], matters: str
) -> None:
    text, fields = asked(deployed, tool, appName=NAME, **more)
    assert fields == {}, "a host that shows fields alone would show no text"
    assert matters in text


def test_lists_have_a_limit_and_say_that_there_is_more(deployed: Server) -> None:
    for tool, field in (("operations_list", "operations"), ("files_list", "entries")):
        text, fields = asked(deployed, tool, appName=NAME, limit=1)
        assert (len(fields[field]), fields["truncated"]) == (1, True), tool
        assert "There is more" in text
    assert asked(deployed, "release_list", appName=NAME)[1]["truncated"] is False
