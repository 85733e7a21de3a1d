"""A trivial tool call over MCP, against the SDK's bare server that does nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.figures import Figure, at_least, rate
from bench.load import post
from bench.world import CLIENTS, World
from tests.support import IKOMA, free_port

_TARGET = 0.8
_TOOL = "platform_info"
_REVISION = "2026-07-28"
_META = {
    "io.modelcontextprotocol/protocolVersion": _REVISION,
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
_ROOT = Path(__file__).parents[1]


def mcp(world: World) -> Iterator[Figure]:
    """Ours and the bare server alternate."""
    answer = ["--answer", json.dumps(world.server.do("platform.info"))]
    ours: list[float] = []
    beside: list[float] = []
    with _bare(answer) as url:
        for _ in range(world.rounds):
            ours.append(_over_http(f"{world.server.url}/mcp", world.server.key, world.seconds))
            beside.append(_over_http(url, "", world.seconds))
    yield _figure("Streamable HTTP", ours, beside)
    ours, beside = [], []
    bare = [sys.executable, "-m", "tests.mcp.bare_server", "--stdio", "--without-fixtures", *answer]
    for _ in range(world.rounds):
        environment = {**world.server.env, "IKOMA_ROLE": "observer"}
        ours.append(_over_stdio([str(IKOMA), "mcp"], environment, world.seconds))
        beside.append(_over_stdio(bare, dict(os.environ), world.seconds))
    yield _figure("stdio", ours, beside)


def _figure(transport: str, ours: Sequence[float], beside: Sequence[float]) -> Figure:
    what = f"a trivial tool call over MCP, {transport}, {CLIENTS} at once, rate over the SDK's bare server"
    times = sorted(ours)[len(ours) // 2] / sorted(beside)[len(beside) // 2]
    return at_least(what, times, _TARGET, "×", ours=rate(ours), beside=rate(beside))


@contextmanager
def _bare(answer: Sequence[str]) -> Iterator[str]:
    port = free_port()
    argv = [sys.executable, "-m", "tests.mcp.bare_server", "--http", str(port), "--without-fixtures", *answer]
    process = subprocess.Popen(argv, cwd=_ROOT)
    url = f"http://127.0.0.1:{port}/mcp"
    try:
        while True:
            try:
                urllib.request.urlopen(url, timeout=1)
            except urllib.error.HTTPError:
                break
            except OSError:
                time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait()


def _over_http(url: str, key: str, seconds: float) -> float:
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": _REVISION,
        "Mcp-Method": "tools/call",
        "Mcp-Name": _TOOL,
        **({"X-Api-Key": key} if key else {}),
    }
    return post(url, _message(1), headers, clients=CLIENTS, seconds=seconds).rate


def _over_stdio(argv: Sequence[str], environment: Mapping[str, str], seconds: float) -> float:
    """Answers per second with as many calls under way on one pair of pipes."""
    process = subprocess.Popen(argv, env=environment, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None

    def send(number: int) -> None:
        assert process.stdin is not None
        process.stdin.write(_message(number).encode() + b"\n")
        process.stdin.flush()

    def receive() -> None:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert b'"isError":true' not in line and b'"result"' in line, line

    send(0)
    receive()
    began = time.perf_counter()
    for number in range(CLIENTS):
        send(number + 1)
    answered = 0
    while (elapsed := time.perf_counter() - began) < seconds:
        receive()
        answered += 1
        send(CLIENTS + answered)
    process.stdin.close()
    process.stdout.read()
    process.wait(30)
    return answered / elapsed


def _message(number: int) -> str:
    params = {"name": _TOOL, "arguments": {}, "_meta": _META}
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params})
