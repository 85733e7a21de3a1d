"""Work that takes long, over MCP: it outlives clients and servers, and is stopped by who began it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from mcp.client.client import Client

from tests.mcp.client import EVERYWHERE, LEGACY, MODERN, Opened, do, over_http, over_stdio, post, refused, talk
from tests.support import Server, eventually

SLOW = "SELECT pg_sleep({seconds})"
GATED = "DO $$BEGIN WHILE NOT EXISTS (SELECT FROM gate) LOOP PERFORM pg_sleep(0.05); END LOOP; END$$"
"""Work that ends when the test says so, however slow the machine is."""


def close_gate(house: Server, app: str) -> None:
    """An app with a database, in which gated work has to wait."""
    house.do("apps.init", {"appName": app})
    house.do("db.create", {"appName": app})
    house.do("db.seed", {"appName": app, "sql": "DROP TABLE IF EXISTS gate; CREATE TABLE gate (n int)"})


def open_gate(house: Server, app: str) -> None:
    """Let the gated work of the app end; it holds the app's lock, so no call of ours would get through."""
    done = house.cli("psql", app, "-c", "INSERT INTO gate VALUES (1)")
    assert done.returncode == 0, done.stderr


def operations(house: Server, app: str) -> set[str]:
    """The ids of an app's last operations."""
    return {item["id"] for item in house.do("operations.list", {"appName": app})["operations"]}


def begun(house: Server, app: str, capability: str, before: set[str]) -> None:
    """Wait until the server works at such a call, which was not among the operations before."""

    def runs() -> bool:
        listed = house.do("operations.list", {"appName": app})["operations"]
        return any(
            (item["capability"], item["state"]) == (capability, "running") and item["id"] not in before
            for item in listed
        )

    eventually(runs, f"a {capability} that runs")


@EVERYWHERE
def test_long_work_answers_with_an_operation_that_goes_on(house: Server, opened: Opened) -> None:
    steps: list[str] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        steps.append(message or "")

    async def conversation(client: Client) -> None:
        asked = {"appName": "mcp-long", "sql": GATED, "wait": 0, "idempotencyKey": f"k{time.time_ns()}"}
        started = await do(client, "db_seed", **asked)
        assert started["state"] == "running"
        waiting = {"tool": "operations_wait", "arguments": {"operationId": started["operationId"]}}
        assert started["next"] == waiting
        assert (await do(client, "db_seed", **asked))["operationId"] == started["operationId"]
        await asyncio.to_thread(open_gate, house, "mcp-long")
        ended = await do(client, "operations_wait", operationId=started["operationId"], seconds=90)
        assert ended["state"] == "succeeded"
        assert ended["result"]["success"] is True
        assert (await do(client, "db_seed", **asked))["success"] is True
        listed = await do(client, "operations_list", appName="mcp-long", limit=1)
        assert listed["operations"][0]["id"] == started["operationId"]
        await client.call_tool("db_backup", {"appName": "mcp-long"}, progress_callback=progress)

    close_gate(house, "mcp-long")
    talk(opened(house), conversation)
    assert "dump" in steps


def test_an_operation_survives_its_client_and_a_restart(house: Server) -> None:
    def start(seconds: int) -> str:
        async def conversation(client: Client) -> str:
            await do(client, "apps_init", appName="mcp-lasting")
            await do(client, "db_create", appName="mcp-lasting")
            asked = {"appName": "mcp-lasting", "sql": SLOW.format(seconds=seconds), "wait": 0}
            return str((await do(client, "db_seed", **asked))["operationId"])

        return talk(over_http(house), conversation)

    done = start(3)
    house.stop()  # lets it end
    house.start()
    assert house.do("operations.get", {"operationId": done})["state"] == "succeeded"
    cut_off = start(60)
    house.kill()
    house.start()
    after = house.do("operations.get", {"operationId": cut_off})
    assert after["state"] == "interrupted"
    assert "make the call again" in after["failure"]["hint"]
    assert after["failure"]["next"] == {"capability": "apps.status", "arguments": {"appName": "mcp-lasting"}}


@pytest.mark.parametrize("mode", [MODERN, LEGACY])
@pytest.mark.parametrize("transport", [over_http, over_stdio])
def test_a_client_that_vanishes_does_not_stop_its_work(house: Server, mode: str, transport: Opened) -> None:
    close_gate(house, "mcp-gone")
    name, before = f"t{time.time_ns()}", operations(house, "mcp-gone")

    async def vanish(client: Client) -> None:
        sql = f"{GATED}; CREATE TABLE {name} (n int)"
        call = asyncio.ensure_future(client.call_tool("db_seed", {"appName": "mcp-gone", "sql": sql}))
        await asyncio.to_thread(begun, house, "mcp-gone", "db.seed", before)
        raise ConnectionAbortedError(call.done())

    with pytest.raises(BaseException) as raised:
        talk(transport(house, mode=mode), vanish)
    assert not isinstance(raised.value, AssertionError)
    open_gate(house, "mcp-gone")
    eventually(lambda: name in house.do("db.status", {"appName": "mcp-gone"})["tables"], "its table")


def test_cancelling_stops_the_work_and_only_the_own(house: Server) -> None:
    mine = house.do("keys.create", {"name": "mine", "role": "builder"})["key"]
    other = house.do("keys.create", {"name": "other", "role": "builder"})["key"]

    async def start(client: Client) -> str:
        await do(client, "apps_init", appName="mcp-stop")
        await do(client, "db_create", appName="mcp-stop")
        sql = "CREATE TABLE never (n int); SELECT pg_sleep(240)"
        return str((await do(client, "db_seed", appName="mcp-stop", sql=sql, wait=0))["operationId"])

    identity = talk(over_http(house, key=mine), start)

    async def steal(client: Client) -> None:
        assert (await refused(client, "operations_cancel", operationId=identity))["code"] == "out_of_scope"

    async def stop(client: Client) -> None:
        assert (await do(client, "operations_cancel", operationId=identity))["state"] == "cancelled"
        assert (await do(client, "db_status", appName="mcp-stop"))["tables"] == []

    talk(over_http(house, key=other), steal)
    talk(over_http(house, key=mine), stop)


@pytest.mark.parametrize(
    "opened",
    [
        pytest.param(lambda house: over_http(house, mode=LEGACY), id="http-2025"),
        pytest.param(lambda house: over_stdio(house, mode=LEGACY), id="stdio-2025"),
        pytest.param(lambda house: over_stdio(house, mode=MODERN), id="stdio-2026"),
    ],
)
def test_a_request_that_a_client_takes_back_is_stopped(house: Server, opened: Opened) -> None:
    async def conversation(client: Client) -> None:
        await do(client, "apps_init", appName="mcp-back")
        await do(client, "db_create", appName="mcp-back")
        asked = {"appName": "mcp-back", "sql": "SELECT pg_sleep(240)"}
        before = operations(house, "mcp-back")
        call = asyncio.ensure_future(client.call_tool("db_seed", asked))
        await asyncio.to_thread(begun, house, "mcp-back", "db.seed", before)
        call.cancel()
        await asyncio.wait([call])
        async with asyncio.timeout(90):
            while True:
                newest = (await do(client, "operations_list", appName="mcp-back", limit=1))["operations"][0]
                if newest["state"] != "running":
                    break
        assert newest["state"] == "cancelled"
        assert (await do(client, "db_seed", appName="mcp-back", sql="SELECT 1"))["success"] is True

    talk(opened(house), conversation)


def test_requests_of_two_clients_without_sessions_are_kept_apart_though_their_ids_are_the_same(house: Server) -> None:
    close_gate(house, "mcp-same")

    def call(tool: str, **arguments: Any) -> Any:
        said = speak(house, "tools/call", {"name": tool, "arguments": arguments}, knows={}, Mcp_Name=tool)
        return said["result"]["structuredContent"]

    before = operations(house, "mcp-same")
    with ThreadPoolExecutor(1) as other:
        slow = other.submit(call, "db_seed", appName="mcp-same", sql=GATED)
        begun(house, "mcp-same", "db.seed", before)
        assert call("platform_info")["version"]
        speak(house, "notifications/cancelled", {"requestId": 1})
        open_gate(house, "mcp-same")
        assert slow.result()["success"] is True


def test_a_graceful_stop_does_not_wait_for_open_streams(house: Server) -> None:
    async def conversation(client: Client) -> float:
        async with client.listen(resource_subscriptions=["ikoma://platform/health"]):
            began = time.monotonic()
            await asyncio.to_thread(house.stop)
            return time.monotonic() - began

    async def legacy(client: Client) -> float:
        await client.list_tools()
        began = time.monotonic()
        await asyncio.to_thread(house.stop)
        return time.monotonic() - began

    for mode, conversing in ((MODERN, conversation), (LEGACY, legacy)):
        took = talk(over_http(house, mode=mode), conversing)
        house.start()
        assert took < 45, mode  # a stop gives what is under way 60


TASKS = {"extensions": {"io.modelcontextprotocol/tasks": {}}}


def speak(
    house: Server, method: str, params: dict[str, Any], *, knows: Mapping[str, Any] = TASKS, **headers: str
) -> dict[str, Any]:
    """One message of a client that has no session; as it stands, of one that knows tasks."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": knows,
    }
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
    answer = post(house, json.dumps(body).encode(), Mcp_Method=method, **headers)
    return answer.body


def test_a_client_that_knows_tasks_gets_one_for_long_work(house: Server) -> None:
    house.do("apps.init", {"appName": "mcp-task"})
    house.do("db.create", {"appName": "mcp-task"})

    def start(sql: str) -> dict[str, Any]:
        arguments = {"appName": "mcp-task", "sql": sql, "wait": 0}
        said = speak(house, "tools/call", {"name": "db_seed", "arguments": arguments}, Mcp_Name="db_seed")["result"]
        assert (said["resultType"], said["status"]) == ("task", "working")
        return said

    def ended(task: str) -> dict[str, Any]:
        deadline = time.monotonic() + 90
        while (seen := speak(house, "tasks/get", {"taskId": task}, Mcp_Name=task)["result"])["status"] == "working":
            assert time.monotonic() < deadline
            time.sleep(0.1)
        return seen

    done = ended(start("SELECT pg_sleep(1)")["taskId"])
    assert (done["status"], done["result"]["structuredContent"]["success"]) == ("completed", True)
    failed = ended(start("SELECT pg_sleep(0.5); SELECT 1/0")["taskId"])
    assert (failed["status"], failed["result"]["isError"]) == ("completed", True)
    assert "sql_failed" in failed["result"]["content"][0]["text"]
    running = start("SELECT pg_sleep(240)")["taskId"]
    assert speak(house, "tasks/get", {"taskId": running}, Mcp_Name="other")["error"]["code"] == -32020
    acknowledged = speak(house, "tasks/cancel", {"taskId": running}, Mcp_Name=running)["result"]
    assert acknowledged.keys() == {"resultType", "_meta"}
    assert ended(running)["status"] == "cancelled"
    assert speak(house, "tasks/get", {"taskId": "x" * 24}, Mcp_Name="x" * 24)["error"]["code"] == -32602
