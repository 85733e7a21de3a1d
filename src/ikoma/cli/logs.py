"""`ikoma logs`: what an app's containers say, and with --follow what they say from now on."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from ikoma.cli import client, output

_COLOURS = ("cyan", "magenta", "yellow", "green", "blue")


@click.command()
@click.argument("app", shell_complete=client.complete_apps)
@click.option("--service", help="Only this service.")
@click.option("--release", help="Of this release, also where it failed, is starting or was left.")
@click.option("--tail", type=int, help="The last lines; default 100.")
@click.option("--since", help="30s, 10m, 2h, 1d, or a time such as 2026-01-02T15:04:05Z.")
@click.option("--grep", help="Only lines with this text, whatever its case.")
@click.option("--timestamps", is_flag=True, default=None, help="Begin each line with its time.")
@click.option("-f", "--follow", is_flag=True, default=None, help="Go on with new lines until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def logs(as_json: bool, app: str, **options: Any) -> None:
    """Show the last lines of APP's containers, also of stopped ones."""
    arguments = {"appName": app, **{name: value for name, value in options.items() if value is not None}}
    show = _Printer()
    try:
        if options["follow"]:
            client.call("apps.logs", {**arguments, "seconds": 3600}, on_line=show)
            return
        result = client.call("apps.logs", arguments)
    except KeyboardInterrupt:
        return
    except client.Failed as failed:
        output.refuse(failed.answer)
    if as_json:
        click.echo(json.dumps(result, ensure_ascii=False, indent=2))
        return
    for line in result["lines"]:
        show(line)
    if result["more"]:
        click.echo(result["more"], err=True)


class _Printer:
    """Prints lines; on a terminal each service has its colour."""

    def __init__(self) -> None:
        self._colours: dict[str, str] = {}

    def __call__(self, line: str) -> None:
        service, separator, said = line.partition(" | ")
        if separator and sys.stdout.isatty():
            colour = self._colours.setdefault(service, _COLOURS[len(self._colours) % len(_COLOURS)])
            line = f"{click.style(service, fg=colour)} | {said}"
        click.echo(line)


COMMANDS = {"logs": logs}
