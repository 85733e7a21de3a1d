"""The official TypeScript client, driven from a test: `with typescript_client(...) as client: client.call(...)`.

`client.mjs` is the other half, and says what goes over its lines.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.mcp.node import TYPESCRIPT_CLIENT, node
from tests.mcp.target import Http, Stdio, Target


class Refused(AssertionError):
    """The server, or the client itself, answered with an error instead of a result."""

    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__(f"{error['code']}: {error['message']} {error['data'] or ''}".rstrip())
        self.code = error["code"]
        self.data = error["data"]


@dataclass
class TypeScriptClient:
    process: subprocess.Popen[str]
    connected: Mapping[str, Any] = field(default_factory=dict)
    progress: list[str] = field(default_factory=list)
    """Messages of the progress notifications of the last request."""
    asked: list[str] = field(default_factory=list)
    """Questions of the last request's forms to the user."""

    def request(self, method: str, params: Mapping[str, Any] | None = None, timeout: float = 180) -> Any:
        """The result of one request; raises `Refused`."""
        return self._say({"method": method, "params": params or {}, "timeout": int(timeout * 1000)})

    def tools(self) -> dict[str, Any]:
        return {tool["name"]: tool for tool in self.request("tools/list")["tools"]}

    def call(self, tool: str, arguments: Mapping[str, Any] | None = None, timeout: float = 180) -> Any:
        """The whole result of a tool, `isError` included."""
        return self.request("tools/call", {"name": tool, "arguments": arguments or {}}, timeout)

    def do(self, tool: str, arguments: Mapping[str, Any] | None = None, timeout: float = 180) -> Any:
        """The fields of a call that must succeed, or its text where that is all."""
        result = self.call(tool, arguments, timeout)
        assert not result.get("isError"), result
        return result.get("structuredContent", result["content"][0].get("text"))

    def _say(self, line: Mapping[str, Any]) -> Any:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(line) + "\n")
        self.process.stdin.flush()
        answered = self.process.stdout.readline()
        assert answered, f"the TypeScript client ended with {self.process.wait(90)}"
        answer = json.loads(answered)
        self.progress, self.asked = answer["progress"], answer["asked"]
        if not answer["ok"]:
            raise Refused(answer["error"])
        return answer["result"]


@contextmanager
def typescript_client(
    target: Target, folder: Path, *, era: str = "auto", answer: Mapping[str, Any] | None = None
) -> Iterator[TypeScriptClient]:
    """A connected client. `era` is modern, legacy or auto; `answer` what its user says to forms (None: no forms)."""
    process = subprocess.Popen(
        [node(), TYPESCRIPT_CLIENT],
        cwd=folder,
        env={"PATH": os.defpath, "HOME": str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        client = TypeScriptClient(process)
        client.connected = client._say({**_address(target), "era": era, "answer": answer})
        yield client
        assert process.stdin is not None
        process.stdin.close()
        process.wait(90)
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None and not stream.closed:
                stream.close()


def _address(target: Target) -> dict[str, Any]:
    match target:
        case Http(url, headers):
            return {"http": {"url": url, "headers": dict(headers)}}
        case Stdio(command, env, cwd):
            return {
                "stdio": {"command": [str(part) for part in command], "env": dict(env), "cwd": str(cwd or Path.cwd())}
            }
