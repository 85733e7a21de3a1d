"""The MCP Inspector's command line: one call of it is one connection, one method, and JSON back.

Exit codes of it that matter here: 0, 5 (the tool answered `isError`, or there is no such tool), 6 (`--strict` found an
error in a tool's schema). It knows no forms, so a tool that asks the user first gets no answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.mcp.node import INSPECTOR, run_node
from tests.mcp.target import Http, Stdio, Target

SCHEMA_FAULTS = 6
TOOL_ERROR = 5


@dataclass(frozen=True)
class Inspected:
    exit_code: int
    result: Any
    """Result of the method; None when the Inspector reports an error of its own."""
    stderr: str

    @property
    def must(self) -> Any:
        assert self.exit_code == 0, f"the Inspector ended with {self.exit_code}: {self.stderr}"
        return self.result


def lint_tools(target: Target, folder: Path, *, era: str) -> Inspected:
    """tools/list with the Inspector's check of every schema; its findings are on `stderr`, and the exit code is 6."""
    return inspect(target, folder, "tools/list", "--strict", era=era, quiet=False)


def call_tool(
    target: Target, folder: Path, tool: str, arguments: Mapping[str, Any] | None = None, *, era: str
) -> Inspected:
    given = ("--tool-args-json", json.dumps(arguments)) if arguments else ()
    return inspect(target, folder, "tools/call", "--tool-name", tool, *given, era=era)


def inspect(target: Target, folder: Path, method: str, *options: str, era: str, quiet: bool = True) -> Inspected:
    """Run `method` in era `modern` or `legacy`. It never starts a login; its own files land in `folder`."""
    more = ("--method", method, *options, "--protocol-era", era, "--format", "json", "--stored-auth-only")
    ran = run_node(INSPECTOR, "--cli", *_arguments(target, (*more, "--quiet") if quiet else more), cwd=folder)
    return Inspected(ran.returncode, _result(ran.stdout), ran.stderr)


def _arguments(target: Target, options: tuple[str, ...]) -> list[str]:
    match target:
        case Http(url, headers):
            named = [f"{name}: {value}" for name, value in headers.items()]
            return [url, *options, *(["--header", *named] if named else [])]
        case Stdio(command, env, cwd):
            variables = [part for name, value in env.items() for part in ("-e", f"{name}={value}")]
            return [*options, *variables, *(["--cwd", str(cwd)] if cwd else []), *(str(part) for part in command)]


def _result(stdout: str) -> Any:
    """The payload is one JSON object on a line of its own."""
    for line in stdout.splitlines():
        if line.startswith("{"):
            return json.loads(line).get("result")
    return None
