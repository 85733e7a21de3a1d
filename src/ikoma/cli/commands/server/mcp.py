"""`ikoma mcp`: the MCP server for a host that starts it as its child.

Beside a running server it only passes lines on, so it is quick to start and small; alone it is the platform itself.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import click

from ikoma.cli.client import load_settings_or_exit
from ikoma.cli.output import fail
from ikoma.errors import IkomaError
from ikoma.settings import Settings

_PIECE = 1 << 16


@click.command()
@click.option("--toolsets", metavar="NAMES", default="", help="List only these tools, as in apps,deploy,db.")
@click.option("--verbose", is_flag=True, help="Log more, on stderr.")
def mcp(toolsets: str, verbose: bool) -> None:
    """Speak MCP on stdin and stdout, for an AI assistant's host.

    The key is IKOMA_API_KEY, or else the admin key of IKOMA_HOME; IKOMA_ROLE lowers its role. A server that runs
    already is used; where none does, this is one until the host ends it.
    """
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    settings = load_settings_or_exit()
    chosen = [name.strip() for name in toolsets.split(",") if name.strip()]
    running = _connect(settings.mcp_socket_file)
    if running is not None:
        _pass_on(running, {"key": _find_key(settings), "role": _find_role(settings), "toolsets": chosen})
        return
    import uvloop

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve_alone(settings, chosen))
    except IkomaError as error:
        fail(error.message, error.code, error.hint)


def _connect(path: Path) -> socket.socket | None:
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        server.connect(str(path))
    except OSError:
        server.close()
        return None
    return server


def _pass_on(server: socket.socket, hello: dict[str, Any]) -> None:
    """Bytes both ways, until either side ends."""
    server.sendall(json.dumps(hello).encode() + b"\n")
    answers = server.makefile("rb", buffering=0)
    refusal = json.loads(
        _read_first_line(server) or b'{"error": "The server ended the connection.", "code": "server_gone"}'
    )
    if refusal:
        fail(refusal["error"], refusal["code"], refusal.get("hint"))

    def send() -> None:
        while piece := os.read(0, _PIECE):
            server.sendall(piece)
        server.shutdown(socket.SHUT_WR)

    threading.Thread(target=send, daemon=True).start()
    with open(1, "wb", buffering=0, closefd=False) as out:
        shutil.copyfileobj(answers, out, _PIECE)


def _read_first_line(server: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n") and (byte := server.recv(1)):
        line += byte
    return line


async def _serve_alone(settings: Settings, toolsets: list[str]) -> None:
    from ikoma.platform.composition import run_platform
    from ikoma.platform.preparation import prepare
    from ikoma.transports.mcp.adapter import McpAdapter, find_connection
    from ikoma.transports.mcp.calls import Calls, McpConnection
    from ikoma.transports.mcp.streams.stdio import serve_standard_streams

    prepare(settings)
    async with run_platform(settings) as started:
        adapter = McpAdapter(started.pipeline.registry, Calls(started.pipeline), find_connection)
        who = McpConnection(_find_key(settings), _find_role(settings), tuple(toolsets), session="host")
        async with adapter.tell_of_events(started.pipeline.events):
            await serve_standard_streams(adapter, started.pipeline, who)


def _find_key(settings: Settings) -> str:
    given = os.environ.get("IKOMA_API_KEY") or os.environ.get("API_KEY")
    try:
        return given or settings.api_key_file.read_text().strip()
    except OSError as error:
        fail(f"{settings.api_key_file} cannot be read: {error.strerror}.", "unauthenticated", "Set IKOMA_API_KEY.")


def _find_role(settings: Settings) -> str | None:
    return str(settings.ikoma_role) if settings.ikoma_role is not None else None


COMMANDS = {"mcp": mcp}
