"""A command is quick because it loads little: what it loads is counted, and not how long it takes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support import Server

PROGRAM = """
import atexit, json, sys
atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))
sys.argv = ["ikoma", *sys.argv[1:]]
from ikoma.cli import run
run()
"""
MOST = 270
HEAVY = {
    "pydantic",
    "orjson",
    "rich",
    "asyncio",
    "aiohttp",
    "yaml",
    "psycopg",
    "mcp",
    "starlette",
    "uvicorn",
    "cryptography",
}


@pytest.mark.parametrize(
    "arguments", [["status", "quick"], ["list"], ["operations"], ["audit"], ["keys", "list"], ["top"]]
)
def test_a_command_loads_what_it_needs_and_no_more(server: Server, arguments: list[str]) -> None:
    loaded = modules(server, arguments, {})
    assert "ikoma.cli.views" in loaded
    check(loaded)


@pytest.mark.parametrize("words", ["ikoma dep", "ikoma status ", "ikoma call deploy.", "ikoma wait "])
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_loads_as_little(server: Server, words: str, shell: str) -> None:
    *_, last = words.split(" ")
    typed = {"COMP_WORDS": words, "COMP_CWORD": last if shell == "fish" else str(words.count(" "))}
    check(modules(server, [], {"_IKOMA_COMPLETE": f"{shell}_complete", **typed}))


def modules(server: Server, arguments: list[str], more: dict[str, str]) -> list[str]:
    if arguments[:1] == ["status"]:
        server.do("apps.init", {"appName": arguments[1]})
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], env=server.env | more, capture_output=True, text=True, check=True
    )
    found: list[str] = json.loads(done.stderr.splitlines()[-1])
    return found


def check(loaded: list[str]) -> None:
    tops = {name.partition(".")[0] for name in loaded}
    assert not tops & HEAVY, tops & HEAVY
    ours = {
        name
        for name in loaded
        if name.startswith(("ikoma.kernel.", "ikoma.capabilities", "ikoma.apps", "ikoma.compose"))
    }
    plain = {
        "ikoma.kernel.nearest",
        "ikoma.kernel.words",
        "ikoma.kernel.listing",
        "ikoma.kernel.page",
        "ikoma.kernel.redaction",
        "ikoma.kernel.redaction.places",
    }
    assert ours <= plain
    assert len(loaded) < MOST, len(loaded)
