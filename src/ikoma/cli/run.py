"""`ikoma run`: a command on the code and the data of the release that serves, as if it ran here."""

from __future__ import annotations

import sys
from typing import Any

import click

from ikoma.cli import client, output


class _Run(click.Command):
    """Says where the command begins when one of its options was taken for an own one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            message = f"{error.message} Put -- before the command: ikoma run APP -- COMMAND"
            raise click.UsageError(message, ctx) from None


@click.command(cls=_Run)
@click.argument("app", shell_complete=client.complete_apps)
@click.option(
    "--service", help="Whose image, variables and volumes it gets; by default the service's that answers requests."
)
@click.option("--timeout", type=int, help="Seconds, after which it is ended; default 300.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(app: str, command: tuple[str, ...], **options: Any) -> None:
    """Run COMMAND once, in a new container of APP's release that serves: ikoma run APP -- python manage.py shell

    What it says is printed as it comes, and its exit code is this command's.
    """
    chosen = {name: value for name, value in options.items() if value is not None}
    show = _Printer()
    try:
        result = client.call("apps.run", {"appName": app, "command": list(command), **chosen}, show, on_gap=show.stop)
    except client.Failed as failed:
        output.refuse(failed.answer)
    show.rest(result["lines"], result["count"])
    sys.exit(result["exitCode"])


class _Printer:
    """Prints lines as they come; once some were left out, all from there on at the end."""

    def __init__(self) -> None:
        self._printed = 0
        self._stopped = False

    def __call__(self, message: str, fraction: float | None) -> None:
        _, separator, line = message.partition(" | ")
        if separator and not self._stopped:
            click.echo(line)
            self._printed += 1

    def stop(self) -> None:
        self._stopped = True

    def rest(self, lines: list[str], count: int) -> None:
        """What was not printed yet, of the last lines of so many."""
        first = count - len(lines)
        if self._printed < first:
            click.echo(f"[{first - self._printed} lines were left out]", err=True)
        for line in lines[max(self._printed - first, 0) :]:
            click.echo(line)


COMMANDS = {"run": run}
