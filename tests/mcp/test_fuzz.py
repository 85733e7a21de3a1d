"""The MCP door, fuzzed in both eras of the protocol: whatever is sent, the answer is one of the protocol, and in time.

No answer is a server's error, the protocol's internal error or an error of ours that nobody foresaw, and none holds a
secret. What would take long or take away what others need is called by a key that may not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ikoma import capabilities
from ikoma.kernel.registry import Capability
from ikoma.transports.mcp.tools import make_input_schema, make_tool_name
from tests.fuzzing import APP, JUNK, SECONDS, TEXT, fitting, role_for, secrets_of
from tests.mcp.client import MODERN
from tests.support import Server

LEGACY = "2025-06-18"
TOOLS = list(capabilities.load())
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientInfo": {"name": "fuzzer", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
METHODS = (
    *("initialize", "ping", "server/discover", "tools/list", "tools/call", "resources/list", "resources/read"),
    *("resources/templates/list", "resources/subscribe", "resources/unsubscribe", "prompts/list", "prompts/get"),
    *("completion/complete", "logging/setLevel", "tasks/get", "tasks/update", "tasks/cancel", "tasks/list"),
    *("notifications/initialized", "notifications/cancelled", "notifications/progress", "sampling/createMessage"),
)
"""Known to some revision; subscriptions/listen is left out, whose answer has no end."""
_INTERNAL = re.compile(r'"code":\s*-32603\b|internal_error')

ERAS = st.sampled_from([MODERN, LEGACY])
NAMES = st.one_of(TEXT, st.sampled_from([APP, "deploy", "diagnose", "apps", "__class__", "a" * 300]))
URIS = st.one_of(
    TEXT,
    st.builds("ikoma://{}".format, TEXT),
    st.builds("ikoma://apps/{}/{}".format, NAMES, st.sampled_from(["status", "env", "logs", "compose", "..", "", "x"])),
    st.sampled_from(["file:///etc/passwd", f"ikoma://apps/{APP}/.env", f"ikoma://apps/{APP}/%2e%2e/api-key.txt"]),
)


def few(examples: int) -> Any:
    return settings(
        max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )


@dataclass
class Door:
    """The door of one server, and what must not come out of it."""

    server: Server
    secrets: Mapping[str, str]
    session: str = ""

    def hello(self) -> None:
        """Begin the session that the older era wants."""
        client = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "fuzzer", "version": "1"}}
        self.send(LEGACY, {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": client})
        self.send(LEGACY, {"jsonrpc": "2.0", "method": "notifications/initialized"})
        assert self.session

    def ask(self, era: str, method: str, params: Any, role: str = "admin") -> None:
        """Send a request in good form, whatever its parameters."""
        if era == MODERN and isinstance(params, dict):
            params = {**params, "_meta": META}
        self.send(era, {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}, role)

    def send(self, era: str, message: Any, role: str = "admin") -> None:
        """Send one message, and look at all that comes back until the answer ends."""
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        connection = HTTPConnection("127.0.0.1", self.server.port, timeout=SECONDS)
        try:
            connection.request("POST", "/mcp", body, self._headers(era, message, role))
            answer = connection.getresponse()
            said = answer.read().decode() + json.dumps(answer.getheaders())
        finally:
            connection.close()
        self.session = self.session or answer.getheader("Mcp-Session-Id", "")
        assert answer.status < 500 or answer.status == 503, said
        assert not _INTERNAL.search(said), said
        assert [what for what, secret in self.secrets.items() if secret in said] == []

    def _headers(self, era: str, message: Any, role: str) -> dict[str, str]:
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": era,
            "X-Api-Key": self.server.key,
            "X-Role": role,
        }
        if era == LEGACY:
            return headers | ({"Mcp-Session-Id": self.session} if self.session else {})
        given = message if isinstance(message, dict) else {}
        params = given.get("params") if isinstance(given.get("params"), dict) else {}
        named = {"Mcp-Method": given.get("method"), "Mcp-Name": params.get("name", params.get("uri"))}
        return headers | {name: value for name, value in named.items() if _fits_a_header(value)}


def _fits_a_header(value: object) -> bool:
    return isinstance(value, str) and value.isascii() and value.isprintable() and value == value.strip() != ""


@pytest.fixture(scope="module")
def door(house: Server) -> Iterator[Door]:
    with secrets_of(house) as secrets:
        made = Door(house, secrets)
        made.hello()
        yield made


@given(era=ERAS, message=st.one_of(JUNK, st.binary(max_size=40)))
@few(60)
def test_what_is_no_message_is_refused(door: Door, era: str, message: Any) -> None:
    door.send(era, message)


@given(
    era=ERAS,
    message=st.fixed_dictionaries(
        {},
        optional={
            "jsonrpc": st.sampled_from(["2.0", "1.0", 2, None]),
            "id": st.one_of(st.integers(), TEXT, st.none(), st.floats(allow_nan=False, allow_infinity=False), JUNK),
            "method": st.one_of(st.sampled_from(METHODS), TEXT, JUNK),
            "params": JUNK,
            "result": JUNK,
            "error": JUNK,
        },
    ),
)
@few(80)
def test_half_of_a_message_is_refused(door: Door, era: str, message: dict[str, Any]) -> None:
    door.send(era, message)


@given(
    era=ERAS,
    method=st.one_of(st.sampled_from(METHODS), TEXT),
    params=st.one_of(
        JUNK,
        st.fixed_dictionaries(
            {},
            optional=dict.fromkeys(("name", "uri", "arguments", "ref", "argument", "cursor", "level", "taskId"), JUNK),
        ),
    ),
)
@few(100)
def test_a_method_takes_any_parameters_for_what_they_are(door: Door, era: str, method: str, params: Any) -> None:
    door.ask(era, method, params)


@pytest.mark.parametrize("item", TOOLS, ids=lambda item: item.name)
def test_a_tool_takes_any_arguments_for_what_they_are(door: Door, item: Capability) -> None:
    arguments = fitting(make_input_schema(item))
    broken = st.builds(lambda good, bad: good | bad, arguments, st.dictionaries(TEXT, JUNK, max_size=2))
    off = st.fixed_dictionaries(dict.fromkeys(make_input_schema(item)["properties"], JUNK))

    @given(
        era=ERAS, name=st.sampled_from([make_tool_name(item.name), item.name]), given=st.one_of(arguments, broken, off)
    )
    @few(10)
    def called(era: str, name: str, given: dict[str, Any]) -> None:
        door.ask(era, "tools/call", {"name": name, "arguments": given}, role_for(item.name))

    called()


@given(era=ERAS, name=NAMES, arguments=JUNK)
@few(40)
def test_an_unknown_tool_is_none(door: Door, era: str, name: str, arguments: Any) -> None:
    door.ask(era, "tools/call", {"name": name, "arguments": arguments})


@given(era=ERAS, uri=URIS)
@few(80)
def test_a_resource_of_any_name_is_read_or_is_none(door: Door, era: str, uri: str) -> None:
    door.ask(era, "resources/read", {"uri": uri})


@given(era=ERAS, name=NAMES, arguments=st.dictionaries(NAMES, NAMES, max_size=3))
@few(60)
def test_a_prompt_of_any_name_is_given_or_is_none(door: Door, era: str, name: str, arguments: dict[str, str]) -> None:
    door.ask(era, "prompts/get", {"name": name, "arguments": arguments})


@given(
    era=ERAS,
    ref=st.one_of(
        st.fixed_dictionaries({"type": st.just("ref/prompt"), "name": NAMES}),
        st.fixed_dictionaries({"type": st.just("ref/resource"), "uri": URIS}),
        JUNK,
    ),
    argument=st.one_of(st.fixed_dictionaries({"name": NAMES, "value": NAMES}), JUNK),
)
@few(80)
def test_a_completion_of_anything_is_an_answer(door: Door, era: str, ref: Any, argument: Any) -> None:
    door.ask(era, "completion/complete", {"ref": ref, "argument": argument})
