"""`ikoma wait`: be there when an operation ends."""

from __future__ import annotations

import sys
from typing import Any

import click

from ikoma.cli import client, complete, interrupts, output, verbs, views
from ikoma.cli.progress import progress_bar

_AT_ONCE = 3600


@click.command()
@click.argument("operation_id", metavar="ID", required=False, shell_complete=complete.make_completer("operationId"))
@click.option("--operation-id", "id_option", metavar="ID", help="Another way to name the operation.")
@click.option("--seconds", type=click.IntRange(0, _AT_ONCE), help="The longest to wait; until it ends when left out.")
@verbs.JSON_OPTION
def wait(operation_id: str | None, id_option: str | None, seconds: int | None, as_json: bool) -> None:
    """Wait until the operation ID has ended, showing its steps; exit code 1 where it has not ended well.

    Ctrl-C leaves it going on.
    """
    name = operation_id or id_option
    if name is None:
        raise click.UsageError("Missing argument 'ID'.")
    try:
        ended = _has_ended(name, seconds)
    except client.CallFailed as failed:
        output.fail_with(failed.answer, as_json)
    except KeyboardInterrupt:
        click.echo(f"\nIt goes on. To cancel it: ikoma cancel {name}", err=True)
        sys.exit(interrupts.INTERRUPTED)
    output.show(ended, as_json, () if as_json else views.lay_out_result("operations.wait", ended, {}))
    sys.exit(0 if views.is_well("operations.wait", ended) else 1)


def _has_ended(name: str, seconds: int | None) -> Any:
    with progress_bar() as progress:
        while True:
            arguments = {"operationId": name, "seconds": _AT_ONCE if seconds is None else seconds}
            found = client.call("operations.wait", arguments, progress)
            if found["state"] != "running" or seconds is not None:
                return found


COMMANDS = {"wait": wait}
