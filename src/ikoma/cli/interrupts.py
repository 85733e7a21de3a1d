"""Ctrl-C while the server works: the work goes on, and whoever left is told how to follow and how to cancel it.

A second Ctrl-C within a few seconds cancels it, and waits until what it had begun is put right.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

import click

from ikoma.cli import client, output

INTERRUPTED = 130
"""Exit code of a command that Ctrl-C has ended, as shells have it."""
_AGAIN_SECONDS = 4.0


@contextmanager
def leave_on_interrupt(capability: str, arguments: Mapping[str, Any]) -> Iterator[Callable[[str], None]]:
    """Around a call that changes something; yields what is told the operation's id once that is known."""
    known: list[str] = []
    try:
        yield known.append
    except KeyboardInterrupt:
        _leave(known[-1] if known else _find(capability, arguments))


def _leave(identity: str | None) -> NoReturn:
    if not identity:
        unknown = "The server does not say whether it has begun; `ikoma operations` shows what runs."
        click.echo(f"\n{unknown if identity is None else 'Nothing was begun.'}", err=True)
        sys.exit(INTERRUPTED)
    try:
        click.echo(f"\nIt goes on without you, as operation {identity}.", err=True)
        click.echo(f"  to follow it:  ikoma wait {identity}", err=True)
        click.echo(f"  to cancel it:  ikoma cancel {identity}, or Ctrl-C again now", err=True)
        time.sleep(_AGAIN_SECONDS)
    except KeyboardInterrupt:
        _cancel(identity)
    sys.exit(INTERRUPTED)


def _cancel(identity: str) -> NoReturn:
    click.echo("\nCancelling it; what it had begun is put right first …", err=True)
    try:
        ended = client.call("operations.cancel", {"operationId": identity})
    except client.CallFailed as failed:
        output.fail_with(failed.answer, as_json=False)
    except KeyboardInterrupt:
        click.echo(f"\nIt is still being cancelled: ikoma wait {identity}", err=True)
        sys.exit(INTERRUPTED)
    said = {"cancelled": "It is cancelled.", "succeeded": "It had ended well before it could be cancelled."}
    click.echo(said.get(ended["state"], f"It has ended: {ended['state']}."), err=True)
    sys.exit(INTERRUPTED)


def _find(capability: str, arguments: Mapping[str, Any]) -> str | None:
    """The operation that has told nothing yet: the newest of this call's kind that runs.

    "" where there is none, None where the server does not say.
    """
    wanted = {"appName": arguments["appName"]} if "appName" in arguments else {}
    try:
        found = client.call("operations.list", {**wanted, "limit": 10}, timeout=5)["operations"]
    except (client.CallFailed, KeyboardInterrupt):
        return None
    running = [item["id"] for item in found if item["capability"] == capability and item["state"] == "running"]
    return str(running[0]) if running else ""
