"""The three doors, each used as its clients use it: what a call comes to, as a code, and all that was said."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from click.testing import CliRunner

from ikoma.cli import main
from ikoma.transports.mcp.tools import make_tool_name
from tests.mcp.client import post
from tests.support import Server


@dataclass(frozen=True, slots=True)
class Outcome:
    """`code` is None where the call succeeded; `text` is everything that came back."""

    code: str | None
    text: str

    @property
    def refused(self) -> bool:
        """Whether it was kept from being done by who asked, not by what was asked."""
        return self.code in ("unauthenticated", "role_too_low", "out_of_scope")


Door = Callable[..., Outcome]


def http(
    server: Server, capability: str, arguments: Mapping[str, Any], key: str | None = "", role: str | None = None
) -> Outcome:
    answer = server.call(capability, arguments, key=key, role=role)
    return Outcome(answer.body.get("code"), json.dumps(answer.body) + json.dumps(dict(answer.headers)))


def mcp(
    server: Server, capability: str, arguments: Mapping[str, Any], key: str | None = "", role: str | None = None
) -> Outcome:
    message = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {
            "name": make_tool_name(capability),
            "arguments": dict(arguments),
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientInfo": {"name": "attacker", "version": "1"},
                "io.modelcontextprotocol/clientCapabilities": {},
            },
        },
    }
    headers = {"Mcp_Method": "tools/call", "Mcp_Name": make_tool_name(capability), "X_Api_Key": key or server.key}
    if key is None:
        headers["X_Api_Key"] = ""
    answer = post(server, json.dumps(message).encode(), **headers, **({"X_Role": role} if role else {}))
    text = json.dumps(answer.body)
    if "code" in answer.body:
        return Outcome(answer.body["code"], text)
    result = answer.body.get("result")
    if result is None:  # the protocol itself refused
        return Outcome(str(answer.body["error"]["message"]), text)
    said = json.loads(result["content"][0]["text"]) if result.get("isError") else {}
    if said.get("code") == "confirmation_needed":  # the person at this door agrees
        return mcp(server, capability, {**arguments, "confirmation": said["confirmation"]}, key, role)
    return Outcome(said.get("code"), text)


def cli(
    server: Server, capability: str, arguments: Mapping[str, Any], key: str | None = "", role: str | None = None
) -> Outcome:
    pairs = [part for name, value in arguments.items() for part in ("--arg", f"{name}={_spelled(value)}")]
    environment = {**server.env, "IKOMA_URL": server.url, "IKOMA_API_KEY": key or server.key, "IKOMA_ROLE": role}
    ran = CliRunner(env=environment).invoke(main, ["call", capability, "--yes", "--json", *pairs])
    if not ran.exit_code:
        return Outcome(None, ran.output)
    try:
        return Outcome(json.loads(ran.stdout)["code"], ran.output)
    except (json.JSONDecodeError, KeyError):
        return Outcome(f"usage: {ran.output}", ran.output)


DOORS: Mapping[str, Door] = {"http": http, "mcp": mcp, "cli": cli}


def _spelled(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
