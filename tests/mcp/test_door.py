"""The MCP door over Streamable HTTP and stdio: who may do what, what goes wrong, and what long work does."""

from __future__ import annotations

import http.client
import json
import urllib.request
from typing import Any

import psutil
import pytest
from mcp.client.client import Client
from mcp.shared.exceptions import MCPError
from mcp_types import ElicitRequestParams, ElicitResult

from tests.mcp.client import (
    EVERYWHERE,
    MODERN,
    Opened,
    do,
    over_http,
    over_stdio,
    post,
    refused,
    said,
    talk,
    text_of,
)
from tests.support import Server, fetch


@EVERYWHERE
def test_a_caller_sees_what_it_may_do_and_no_more(house: Server, opened: Opened) -> None:
    async def listed(client: Client) -> dict[str, bool]:
        tools = (await client.list_tools()).tools
        return {tool.name: bool(tool.annotations and tool.annotations.read_only_hint) for tool in tools}

    observer = talk(opened(house, role="observer"), listed)
    assert all(observer.values())
    assert "apps_status" in observer
    operator = talk(opened(house, role="operator"), listed)
    assert observer.keys() < operator.keys()
    assert {"deploy_up", "db_backup"} <= operator.keys()
    assert not {"apps_init", "keys_create", "apps_remove"} & operator.keys()
    assert {"apps_init", "apps_remove"} <= talk(opened(house, role="admin"), listed).keys()


@EVERYWHERE
def test_a_tool_answers_under_both_names_with_structure_and_text(house: Server, opened: Opened) -> None:
    async def conversation(client: Client) -> None:
        for name in ("platform_check", "platform.check"):
            result = await client.call_tool(name, {})
            assert result.structured_content["healthy"] is True
            assert text_of(result).startswith("Docker, PostgreSQL and the apps' folder are usable.")

    talk(opened(house), conversation)


@EVERYWHERE
def test_refusals_are_results_that_say_what_to_do(house: Server, opened: Opened) -> None:
    async def conversation(client: Client) -> None:
        missing = await refused(client, "apps_status", appName="mcp-nowhere")
        assert (missing["code"], missing["next"]) == ("app_not_found", {"tool": "apps_list", "arguments": {}})
        wrong = await refused(client, "apps_init", appName="mcp-x", template="cobol", colour="red")
        assert wrong["code"] == "invalid_arguments"
        problems = {problem["argument"]: problem for problem in wrong["arguments"]}
        assert problems["template"]["allowed"] == ["node", "python", "static", "dockerfile"]
        assert problems["template"]["example"] == "node"
        assert "colour" in problems
        for name in ("../x", "a/b", "-rf", "é", "x" * 300, "a\0b"):
            assert (await refused(client, "apps_init", appName=name))["code"] == "invalid_arguments"
        with pytest.raises(MCPError, match="Unknown tool"):
            await client.call_tool("apps_inti", {})

    before = len(house.audit())
    talk(opened(house), conversation)
    assert house.audited(before, code="unknown_capability")


@EVERYWHERE
def test_a_tool_that_is_not_listed_is_refused_by_name_and_on_record(house: Server, opened: Opened) -> None:
    async def conversation(client: Client) -> None:
        assert (await refused(client, "apps_remove", appName="mcp-x"))["code"] == "role_too_low"

    before = len(house.audit())
    talk(opened(house, role="operator"), conversation)
    assert house.audited(before, capability="apps.remove", code="role_too_low", role="operator")


def test_a_key_that_loses_its_rights_loses_its_tools_at_the_next_list(house: Server) -> None:
    made = house.do("keys.create", {"name": "passing", "role": "builder", "apps": ["mcp-*"]})

    async def conversation(client: Client) -> None:
        assert "apps_init" in {tool.name for tool in (await client.list_tools()).tools}
        assert (await refused(client, "apps_init", appName="other"))["code"] == "out_of_scope"
        with pytest.raises(MCPError):
            await client.read_resource("ikoma://apps/other/status")
        house.do("keys.revoke", {"id": made["id"]})
        with pytest.raises(MCPError):
            await client.list_tools()

    talk(over_http(house, key=made["key"], mode=MODERN), conversation)


def test_toolsets_shorten_the_list(house: Server) -> None:
    async def listed(client: Client) -> set[str]:
        return {tool.name.split("_", 1)[0] for tool in (await client.list_tools()).tools}

    assert talk(over_http(house, query="?toolsets=apps,db"), listed) == {"apps", "db", "operations", "platform"}
    assert talk(over_stdio(house, "--toolsets", "deploy"), listed) == {"deploy", "operations", "platform"}
    assert "keys" not in talk(over_http(house), listed)
    assert {"keys", "hook", "audit", "apps"} <= talk(over_http(house, query="?toolsets=all"), listed)


def test_over_stdio_the_role_is_the_keys_own_unless_it_is_lowered(house: Server) -> None:
    made = house.do("keys.create", {"name": "host", "role": "builder"})

    async def listed(client: Client) -> set[str]:
        return {tool.name for tool in (await client.list_tools()).tools}

    own = talk(over_stdio(house, role=None, key=made["key"]), listed)
    assert "apps_init" in own
    assert "apps_remove" not in own
    assert "apps_remove" in talk(over_stdio(house, role=None), listed)
    assert "apps_init" not in talk(over_stdio(house, role="operator", key=made["key"]), listed)


def test_nobody_gets_in_without_a_key(house: Server) -> None:
    before = len(house.audit())
    for key in ("", "wrong", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0."):
        answer = post(house, b"{}", X_Api_Key=key, Authorization=f"Bearer {key}" if key else "")
        assert (answer.status, answer.body["code"]) == (401, "unauthenticated")
        assert "resource_metadata=" in answer.headers["www-authenticate"]
    assert house.audited(before, capability="mcp", code="unauthenticated")
    where = f"{house.url}/.well-known/oauth-protected-resource/mcp"
    assert fetch(urllib.request.Request(where)).body["resource"] == f"{house.url}/mcp"
    assert post(house, b"{}", X_Api_Key="", Authorization=f"Bearer {house.key}").status == 400
    key = house.do("keys.create", {"name": "low", "role": "observer"})["key"]
    assert post(house, b"{}", X_Api_Key=key, X_Role="admin").status == 403


def test_pages_from_elsewhere_do_not_get_in(house: Server) -> None:
    assert post(house, b"{}", Host="evil.example").status == 421
    assert post(house, b"{}", Origin="http://evil.example").status == 403
    assert post(house, b"{}", Origin=house.url).status == 400
    assert house.call("platform.info", headers={"Host": "evil.example"}).status == 421
    assert house.call("platform.info", headers={"Origin": "https://evil.example"}).status == 403
    assert house.call("platform.info", headers={"Host": "ikoma.localhost"}).status == 200


def test_malformed_messages_get_protocol_errors(house: Server) -> None:
    assert post(house, b"{garbage").body["error"]["code"] == -32700
    for body in (b"[]", b'"x"', b'{"jsonrpc":"2.0","id":1}', b'{"jsonrpc":"1.0","id":1,"method":"x"}'):
        answer = post(house, body)
        assert answer.status == 400
        assert answer.body["error"]["code"] in (-32600, -32602)
    assert post(house, b'{"jsonrpc":"2.0","id":1,"method":"x"}', MCP_Protocol_Version="1999-01-01").status == 400
    refused = [entry for entry in house.audit() if entry["capability"] == "mcp" and entry["caller"] == "admin"]
    assert len(refused) >= 6
    assert {entry["code"] for entry in refused} == {"malformed_request"}


def test_a_message_that_is_too_large_is_refused_before_it_is_read(house: Server) -> None:
    assert house.process is not None
    memory = psutil.Process(house.process.pid).memory_info
    before, entries = memory().rss, len(house.audit())
    connection = http.client.HTTPConnection("127.0.0.1", house.port, timeout=90)
    connection.putrequest("POST", "/mcp")
    connection.putheader("X-Api-Key", house.key)
    connection.putheader("Content-Length", str(50 << 20))
    connection.endheaders()
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["code"]) == (413, "body_too_large")
    connection.close()
    assert house.audited(entries, code="body_too_large", caller="admin")
    assert memory().rss - before < 20 << 20


def test_arguments_over_a_tools_limit_are_refused(house: Server) -> None:
    async def conversation(client: Client) -> None:
        answer = await refused(client, "apps_init", appName="mcp-x", template="x" * (2 << 20))
        assert answer["code"] in ("body_too_large", "invalid_arguments")

    talk(over_http(house), conversation)
    assert not (house.apps / "mcp-x").exists()


async def yes(context: Any, params: ElicitRequestParams) -> ElicitResult:
    ASKED.append(params.message)
    return ElicitResult(action="accept", content={"confirm": True})


async def no(context: Any, params: ElicitRequestParams) -> ElicitResult:
    ASKED.append(params.message)
    return ElicitResult(action="decline")


ASKED: list[str] = []


@EVERYWHERE
def test_a_person_is_asked_before_something_is_destroyed(house: Server, opened: Opened) -> None:
    async def prepare(client: Client) -> None:
        await do(client, "apps_init", appName="mcp-doomed")
        await do(client, "db_create", appName="mcp-doomed")
        sql = "CREATE TABLE IF NOT EXISTS orders (n int); INSERT INTO orders SELECT generate_series(1, 3);"
        await do(client, "db_seed", appName="mcp-doomed", sql=sql)

    async def remove(client: Client) -> dict[str, Any]:
        result = await client.call_tool("apps_remove", {"appName": "mcp-doomed"})
        return said(result) if result.is_error else dict(result.structured_content or {})

    ASKED.clear()
    talk(opened(house), prepare)
    before = len(house.audit())
    declined = talk(opened(house, elicitation_callback=no), remove)
    assert declined["code"] == "declined"
    assert (house.apps / "mcp-doomed").is_dir()
    assert house.audited(before, capability="apps.remove", code="declined")
    assert "orders (3 rows)" in ASKED[0]
    assert "no backup" in ASKED[0]
    assert talk(opened(house, elicitation_callback=yes), remove)["success"] is True
    assert not (house.apps / "mcp-doomed").exists()


@EVERYWHERE
def test_a_client_that_cannot_ask_gets_a_plan_with_a_token_for_this_call_alone(house: Server, opened: Opened) -> None:
    async def conversation(client: Client) -> None:
        await do(client, "apps_init", appName="mcp-doomed")
        await do(client, "apps_init", appName="mcp-spared")
        plan = await refused(client, "apps_remove", appName="mcp-doomed")
        assert plan["code"] == "confirmation_needed"
        assert "mcp-doomed" in plan["details"]
        token = plan["confirmation"]
        assert (await refused(client, "apps_remove", appName="mcp-spared", confirmation=token))["code"] == (
            "confirmation_invalid"
        )
        await do(client, "apps_remove", appName="mcp-doomed", confirmation=token)
        await do(client, "apps_init", appName="mcp-doomed")
        again = await refused(client, "apps_remove", appName="mcp-doomed", confirmation=token)
        assert again["code"] == "confirmation_invalid"

    talk(opened(house), conversation)
    assert (house.apps / "mcp-doomed").is_dir()
    assert (house.apps / "mcp-spared").is_dir()


def test_stdout_of_the_stdio_server_is_protocol_only_and_alone_it_is_a_platform(tmp_path: Any) -> None:
    import subprocess

    from tests.support import IKOMA, make_server, remove

    alone = make_server()
    try:
        hello = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "initialize",
            "params": {
                "protocolVersion": "2025-06-18",
                "capabilities": {},
                "clientInfo": {"name": "t", "version": "1"},
            },
        }
        ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "apps_list", "arguments": {}}}
        garbage = "this is no JSON"
        process = subprocess.Popen(
            [IKOMA, "mcp", "--verbose"],
            env=alone.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        lines = []
        for message in (json.dumps(hello), json.dumps(ready), garbage, json.dumps(call)):
            process.stdin.write(message + "\n")
            process.stdin.flush()
        lines = [json.loads(process.stdout.readline()) for _ in range(3)]
        rest, errors = process.communicate(timeout=180)
        assert all(json.loads(line)["jsonrpc"] == "2.0" for line in rest.splitlines())
        answers = {line["id"]: line for line in lines}
        assert answers[1]["result"]["protocolVersion"] == "2025-06-18"
        assert answers[2]["result"]["structuredContent"] == {"apps": [], "truncated": False}
        assert answers[None]["error"]["code"] == -32700
        assert process.returncode == 0, errors
    finally:
        remove(alone)


def test_each_mode_has_its_own_doors() -> None:
    from tests import support

    with support.server(SERVER_MODE="http") as plain:
        assert post(plain, b"{}").status == 404
        assert plain.call("platform.info").status == 200
    with support.server(SERVER_MODE="mcp") as only:
        assert post(only, b"{}").status == 400
        assert only.call("platform.info").status == 404


@EVERYWHERE
def test_arguments_as_clients_write_them_are_taken(house: Server, opened: Opened) -> None:
    async def conversation(client: Client) -> None:
        await do(client, "operations_list", limit="5", appName="")
        made = await do(client, "keys_create", name="text", role="observer", apps='["mcp-text"]', expires=None)
        revoking = await refused(client, "keys_revoke", id=made["id"], wait="30", confirmation=None)
        await do(client, "keys_revoke", id=made["id"], wait=30.0, confirmation=revoking["confirmation"])

    talk(opened(house), conversation)
    assert house.call("operations.list", {"limit": "5"}).code == "invalid_arguments"
