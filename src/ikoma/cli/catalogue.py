"""Commands that are written by hand, each with the module that has it; the others are made of the capabilities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import NamedTuple

from ikoma.cli.capability_index import read_commands, read_verbs
from ikoma.kernel.listing import Task
from ikoma.web.tasks import TASKS


class Local(NamedTuple):
    """A command of its own. Where a capability has the verb, it says the rest."""

    module: str
    summary: str = ""
    task: Task | None = None


LOCAL = {
    "up": Local(
        "ikoma.cli.commands.server.up", "Start the server (and its PostgreSQL) and serve until it is stopped.", "server"
    ),
    "mcp": Local(
        "ikoma.cli.commands.server.mcp", "Speak MCP on stdin and stdout, for an AI assistant's host.", "server"
    ),
    "proxy-stop": Local(
        "ikoma.cli.commands.server.proxy", "End the proxy that serves apps while the server is stopped.", "server"
    ),
    "upgrade": Local(
        "ikoma.cli.commands.server.upgrade", "Bring another version of IKOMA here, or return to the former.", "server"
    ),
    "recover": Local(
        "ikoma.cli.commands.server.recover", "Make a new server the one that was, from its backups.", "server"
    ),
    "doctor": Local("ikoma.cli.doctor.command", "Check this machine and say what is missing.", "server"),
    "completion": Local("ikoma.cli.commands.completion", "Let your shell complete commands and names.", "server"),
    "call": Local("ikoma.cli.commands.call", "Call any capability by its name.", "server"),
    "keys": Local("ikoma.cli.commands.keys", "Create, list, rotate and revoke API keys.", "keys"),
    "approvals": Local("ikoma.cli.commands.approvals", "Decide on calls that wait for another key's consent.", "keys"),
    "open": Local("ikoma.cli.commands.browse", "Open an app's address in the browser, or print it.", "look"),
    "psql": Local("ikoma.cli.commands.psql", "Open psql in an app's database, as the app's own role.", "database"),
    "audit": Local("ikoma.cli.commands.audit"),
    "logs": Local("ikoma.cli.commands.logs"),
    "run": Local("ikoma.cli.commands.run"),
    "schedule-set": Local("ikoma.cli.commands.schedule"),
    "cat": Local("ikoma.cli.commands.files"),
    "put": Local("ikoma.cli.commands.files"),
    "deploy": Local("ikoma.cli.commands.deploy"),
    "import": Local("ikoma.cli.commands.take_over"),
    "backup-download": Local("ikoma.cli.commands.download"),
    "wait": Local("ikoma.cli.commands.wait"),
    "top": Local("ikoma.cli.commands.top"),
}


@cache
def list_sections() -> Mapping[str, Mapping[str, str]]:
    """Title of each task → its commands, each with a line: those of LOCAL, then the usual, then the rare."""
    return {task.title: dict(_list_commands(task.word)) for task in TASKS}


def _list_commands(task: str) -> Iterator[tuple[str, str]]:
    yield from ((name, local.summary) for name, local in LOCAL.items() if local.task == task)
    commands = sorted((read_commands()[name] for name in read_verbs().values()), key=lambda command: command.rare)
    for command in commands:
        if command.listing.task == task and " " not in command.listing.verb:
            yield command.listing.verb, command.listing.summary
