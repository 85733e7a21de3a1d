"""Answers on the three doors: each names what can be called in its own words, to keys of each role."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from mcp.client.client import Client
from mcp_types import CallToolResult, TextContent

from ikoma import capabilities
from ikoma.cli import main
from ikoma.kernel.registry import Registry
from ikoma.model import Role
from ikoma.transports.mcp.tools import make_tool_name
from tests.mcp.client import over_http, talk
from tests.support import IKOMA, Server

REGISTRY: Registry = capabilities.load()
DOTTED = re.compile(rf"(?<![\w./])(?:{'|'.join(map(re.escape, REGISTRY.list_names()))})(?!\w|\.\w)")
MARKED = re.compile(r"<(untrusted-\w+) .*?</\1>", re.DOTALL)
COMPOSE = (
    'services:\n  web:\n    image: busybox\n    privileged: true\n    env_file: missing.env\n    volumes: [".:/all"]\n'
)
UNCALLABLE = ("role_too_low", "out_of_scope", "invalid_arguments", "unknown_capability", "malformed_request")
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("apps.status", {"appName": "nobody"}),
    ("apps.status", {"appName": "words"}),
    ("apps.validate", {"appName": "words"}),
    ("apps.health", {"appName": "words"}),
    ("apps.logs", {"appName": "words"}),
    ("artifact.verify_release", {"appName": "words"}),
    ("artifact.generate_runbook", {"appName": "words"}),
    ("db.status", {"appName": "words"}),
    ("db.query", {"appName": "words", "sql": "SELECT 1"}),
    ("db.query", {"appName": "words", "sql": "DELETE FROM x"}),
    ("db.migrate", {"appName": "words"}),
    ("db.backup", {"appName": "words"}),
    ("deploy.up", {"appName": "words"}),
    ("deploy.plan", {"appName": "words"}),
    ("deploy.rollback", {"appName": "words"}),
    ("deploy.restart", {"appName": "words"}),
    ("deploy.down", {"appName": "words"}),
    ("deploy.scale", {"appName": "words", "service": "web", "replicas": 2}),
    ("deploy.preview", {"appName": "words", "ref": "main"}),
    ("domain.remove", {"appName": "words", "domain": "apps.run"}),
    ("env.unset", {"appName": "words", "name": "NOTHING"}),
    ("files.read", {"appName": "words", "path": "db.query"}),
    ("files.read", {"appName": "words", "path": ".env"}),
    ("files.history", {"appName": "words"}),
    ("hook.show", {"appName": "words"}),
    ("keys.list", {}),
    ("operations.list", {"appName": "words"}),
    ("operations.get", {"operationId": "0" * 24}),
    ("platform.check", {}),
    ("preview.list", {"appName": "words"}),
    ("release.list", {"appName": "words"}),
    ("release.show", {"appName": "words"}),
    ("release.show", {"appName": "words", "release": "1"}),
    ("source.checkout", {"appName": "words", "ref": "main"}),
    ("apps.init", {}),
]


@pytest.fixture(scope="module")
def keys(house: Server) -> Iterator[dict[Role, str]]:
    house.do("apps.init", {"appName": "words"})
    (house.apps / "words" / "docker-compose.yml").write_text(COMPOSE)
    yield {role: house.do("keys.create", {"name": str(role), "role": str(role)})["key"] for role in Role}


def _said(value: Any) -> Iterator[str]:
    """Texts of an answer that IKOMA wrote: neither data between markers, nor names that are values."""
    if isinstance(value, str):
        yield MARKED.sub("", value)
    elif isinstance(value, dict):
        for name, part in value.items():
            if name not in ("capability", "capabilities", "path", "domain"):
                yield from _said(part)
    elif isinstance(value, list):
        for part in value:
            yield from _said(part)


@pytest.mark.parametrize("role", Role)
def test_over_mcp_nothing_is_named_but_tools_of_the_key(house: Server, keys: dict[Role, str], role: Role) -> None:
    async def conversation(client: Client) -> None:
        for capability, arguments in CALLS:
            result = await client.call_tool(make_tool_name(capability), arguments)
            assert isinstance(result.content[0], TextContent)
            texts = [text.replace("apps.run", "").replace("db.query", "") for text in _answer(result)]
            for text in texts:
                assert not DOTTED.search(text), (capability, text)
                named = set(re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", text))
                beyond = {item.name for item in REGISTRY if make_tool_name(item.name) in named and item.role > role}
                assert not beyond or capability == "operations.list", (capability, text)  # what was done is a fact
            lead = (_parsed(result.content[0].text) or {}).get("next") if result.is_error else None
            if lead:
                followed = await client.call_tool(lead["tool"], lead["arguments"])
                said = _parsed(followed.content[0].text) if isinstance(followed.content[0], TextContent) else {}
                assert not followed.is_error or said["code"] not in UNCALLABLE, (capability, lead, said)

    talk(over_http(house, key=keys[role]), conversation)


def _answer(result: CallToolResult) -> Iterator[str]:
    yield from _said(result.structured_content or {})
    for part in result.content:
        assert isinstance(part, TextContent)
        yield from _said(_parsed(part.text))


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return {"text": text}


@pytest.mark.parametrize("role", Role)
def test_over_http_a_key_is_named_only_what_it_can_call(house: Server, keys: dict[Role, str], role: Role) -> None:
    for capability, arguments in CALLS:
        answer = house.call(capability, arguments, key=keys[role])
        for text in _said({name: part for name, part in answer.body.items() if name != "next"}):
            beyond = {name for name in DOTTED.findall(text) if REGISTRY.get(name).role > role}
            assert not beyond, (capability, text)
        if lead := answer.body.get("next"):
            followed = house.call(lead["capability"], lead["arguments"], key=keys[role])
            assert followed.status == 200 or followed.code not in UNCALLABLE, (capability, lead, followed.body)


@pytest.mark.parametrize(
    "line",
    [
        ("status", "nobody"),
        ("deploy", "words"),
        ("validate", "words"),
        ("rollback", "words"),
        ("restart", "words"),
        ("query", "words", "--sql", "SELECT 1"),
        ("down", "words"),
        ("domain-remove", "words", "--domain", "apps.run"),
        ("call", "apps.nothing"),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_the_command_line_names_commands(
    house: Server, keys: dict[Role, str], line: tuple[str, ...], as_json: bool
) -> None:
    done = house.cli(*line, *(["--json"] if as_json else []))
    said = done.stdout + done.stderr
    assert "Traceback" not in said
    quoted = said.replace("apps.run", "").replace("ikoma call ", "ikoma-call/")
    assert not DOTTED.search(re.sub(r'"capability": ".*"', "", quoted)), said
    for command in re.findall(r"ikoma ([a-z-]+)", said):
        assert command in main.list_commands(None), said  # type: ignore[arg-type]


@pytest.mark.parametrize("role", Role)
def test_paths_on_the_server_are_told_to_who_is_there_and_to_admins(
    house: Server, keys: dict[Role, str], role: Role
) -> None:
    async def over(client: Client) -> str:
        parts = [await client.call_tool(make_tool_name(name), arguments) for name, arguments in CALLS]
        return "".join(str(part.structured_content) + str(part.content) for part in parts)

    remote = [json.dumps(house.call(name, arguments, key=keys[role]).body) for name, arguments in CALLS]
    remote.append(talk(over_http(house, key=keys[role]), over))
    told = any(str(house.apps) in answer for answer in remote)
    assert told == (role is Role.ADMIN)
    here = {**house.env, "IKOMA_API_KEY": keys[role]}
    validated = subprocess.run(
        [IKOMA, "validate", "words", "--json"], env=here, capture_output=True, text=True, check=False
    )
    assert str(house.apps) in validated.stdout


@pytest.mark.parametrize(
    ("tool", "wrong"),
    [("apps_logs", {"tail": "some"}), ("deploy_up", {"wait": "soon"}), ("deploy_up", {"timeout": "long"})],
)
def test_a_refused_argument_is_answered_with_those_that_the_tool_lists(
    house: Server, tool: str, wrong: dict[str, str]
) -> None:
    async def conversation(client: Client) -> tuple[str, list[str]]:
        listed = next(item for item in (await client.list_tools()).tools if item.name == tool)
        result = await client.call_tool(tool, {"appName": "words", **wrong})
        assert isinstance(result.content[0], TextContent)
        return str(json.loads(result.content[0].text)["hint"]), list(listed.input_schema["properties"])

    hint, properties = talk(over_http(house), conversation)
    assert re.findall(r"\w+", hint.removeprefix(f"{tool} takes ")) == properties
