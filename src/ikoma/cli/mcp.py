"""`ikoma mcp`: the MCP server for a host that starts it as its child.

Beside a running server it is that server's other door; alone it is the platform itself for as long as its host wants.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from typing import TYPE_CHECKING

import click

from ikoma.cli.client import settings_or_exit
from ikoma.cli.output import fail
from ikoma.errors import IkomaError
from ikoma.settings import Settings

if TYPE_CHECKING:
    from ikoma.transports.mcp.calls import Credential


@click.command()
@click.option("--toolsets", metavar="NAMES", default="", help="List only these tools, as in apps,deploy,db.")
@click.option("--verbose", is_flag=True, help="Log more, on stderr.")
def mcp(toolsets: str, verbose: bool) -> None:
    """Speak MCP on stdin and stdout, for an AI assistant's host.

    The role is IKOMA_ROLE (operator when unset), the key IKOMA_API_KEY or else the admin key of IKOMA_HOME. A server
    that runs already is used; where none does, this is one until the host ends it.
    """
    import uvloop

    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    settings = settings_or_exit()
    chosen = tuple(name.strip() for name in toolsets.split(",") if name.strip())
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(settings, chosen))
    except IkomaError as error:
        fail(error.message, error.code, error.hint)


async def _serve(settings: Settings, toolsets: tuple[str, ...]) -> None:
    from ikoma import capabilities
    from ikoma.platform import prepare, running
    from ikoma.transports.mcp.calls import Connection, OwnPipeline
    from ikoma.transports.mcp.remote import connected
    from ikoma.transports.mcp.stdio import serve_stdio

    registry = capabilities.load()
    async with connected(settings.socket_file, registry) as server:
        if server is not None:
            who = Connection(_credential(settings), toolsets)
            await serve_stdio(registry, server, who, server.changes(who.credential))
            return
    prepare(settings)
    async with running(settings) as started:
        who = Connection(_credential(settings), toolsets)
        with started.pipeline.events.listening() as changes:
            await serve_stdio(registry, OwnPipeline(started.pipeline), who, changes)


def _credential(settings: Settings) -> Credential:
    from ikoma.transports.mcp.calls import Credential

    key = os.environ.get("IKOMA_API_KEY") or os.environ.get("API_KEY")
    return Credential(key or settings.api_key_file.read_text().strip(), str(settings.ikoma_role))


COMMANDS = {"mcp": mcp}
