"""`ikoma run`: a command on the code and the data of the release that serves, as if it ran here."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from typing import Any

import click

from ikoma.cli import client, complete, interrupts, output


class _Run(click.Command):
    """Says where the command begins when one of its options was taken for an own one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        typed = list(args)  # the parser takes words away
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            message = f"{error.message} Put -- before the command: {_add_dashes(typed)}"
            raise click.UsageError(message, ctx) from None


def _add_dashes(words: Sequence[str]) -> str:
    """The line as it was meant, as far as can be told: what begins with an option may go on with its value."""
    if not words or words[0].startswith("-"):
        return "ikoma run APP -- COMMAND"
    return shlex.join(["ikoma", "run", words[0], "--", *words[1:]])


@click.command(cls=_Run)
@click.argument("app", shell_complete=complete.apps)
@click.option(
    "--service",
    shell_complete=complete.services,
    help="Whose image, variables and volumes it gets; by default the service's that answers requests.",
)
@click.option("--timeout", type=int, help="Seconds, after which it is ended; default 300.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, at the end.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(app: str, command: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Run COMMAND once, in a new container of APP's release that serves: ikoma run APP -- python manage.py shell

    What it says is printed as it comes, and its exit code is this command's.
    """
    chosen = {name: value for name, value in options.items() if value is not None}
    show = _OutputPrinter(quiet=as_json)
    arguments = {"appName": app, "command": list(command), **chosen}
    try:
        with interrupts.leave_on_interrupt("apps.run", arguments) as begun:
            result = client.call("apps.run", arguments, show, on_gap=show.stop, on_begin=begun)
    except client.CallFailed as failed:
        output.fail_with(failed.answer, as_json)
    if as_json:
        output.show(result, as_json)
        sys.exit(result["exitCode"])
    show.print_rest(result["lines"], result["count"])
    sys.exit(result["exitCode"])


class _OutputPrinter:
    """Prints lines as they come; once some were left out, all from there on at the end."""

    def __init__(self, *, quiet: bool) -> None:
        self._printed = 0
        self._stopped = quiet

    def __call__(self, message: str, fraction: float | None) -> None:
        _, separator, line = message.partition(" | ")
        if separator and not self._stopped:
            click.echo(line)
            self._printed += 1

    def stop(self) -> None:
        self._stopped = True

    def print_rest(self, lines: list[str], count: int) -> None:
        """Lines that were not printed yet, of the last lines of so many."""
        first = count - len(lines)
        if self._printed < first:
            click.echo(f"[{first - self._printed} lines were left out]", err=True)
        for line in lines[max(self._printed - first, 0) :]:
            click.echo(line)


COMMANDS = {"run": run}
