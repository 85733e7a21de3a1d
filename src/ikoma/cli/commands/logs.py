"""`ikoma logs`: what an app's containers say, and with --follow what they say from now on."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from typing import Any

import click

from ikoma.cli import client, complete, output
from ikoma.cli.blocks import Message
from ikoma.cli.words import clean

_COLOURS = ("cyan", "magenta", "yellow", "green", "blue")
_AT_ONCE = 3600


@click.command()
@click.argument("app", shell_complete=complete.apps)
@click.argument("only", metavar="[SERVICE]", required=False, shell_complete=complete.services)
@click.option("--service", help="Only this service.", shell_complete=complete.services)
@click.option("--tail", type=int, help="The last lines; default 100.")
@click.option("--since", help="30s, 10m, 2h, 1d, or a time such as 2026-01-02T15:04:05Z.")
@click.option("--grep", help="Only lines with this text, whatever its case.")
@click.option(
    "--release",
    shell_complete=complete.make_completer("release"),
    help="Of this release, also where it failed or was left.",
)
@click.option("--timestamps", is_flag=True, default=None, help="Begin each line with its time.")
@click.option("-f", "--follow", "goes_on", is_flag=True, help="Go on with new lines until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print each line as a JSON object.")
def logs(as_json: bool, app: str, only: str | None, goes_on: bool, **options: Any) -> None:
    """Show the last lines of APP's containers, also of stopped ones."""
    if only is not None:
        options["service"] = options["service"] or only
    arguments = {"appName": app, **{name: value for name, value in options.items() if value is not None}}
    if goes_on:
        follow(arguments, as_json)
        return
    show = _LogPrinter(as_json)
    try:
        result = client.call("apps.logs", arguments)
    except client.CallFailed as failed:
        output.fail_with(failed.answer, as_json)
    for line in result["lines"]:
        show(line)
    for said in (result.get("note"), result["more"]):
        if said and not as_json:
            output.say(Message(said))


def follow(arguments: Mapping[str, Any], as_json: bool) -> None:
    """Print the last lines and each new one, until Ctrl-C or the server's end."""
    show = _LogPrinter(as_json)
    tail: dict[str, Any] = {}
    note = None if as_json else lambda text, _: output.say(Message(text))
    try:
        while True:
            began = time.monotonic()
            client.call("apps.logs", {**arguments, **tail, "follow": True, "seconds": _AT_ONCE}, note, show)
            note = None  # once is enough
            if time.monotonic() - began < _AT_ONCE - 1:
                return  # the server stops
            tail = {"tail": 1, "since": "1s"}
    except client.CallFailed as failed:
        output.fail_with(failed.answer, as_json)
    except KeyboardInterrupt:
        return


class _LogPrinter:
    """Prints lines; on a terminal each service has its colour, and nothing steers it."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._paper = output.make_paper(sys.stdout)
        self._colours: dict[str, str] = {}

    def __call__(self, line: str) -> None:
        service, separator, said = line.partition(" | ")
        if self._as_json:
            told = {"service": service, "line": said} if separator else {"line": line}
            line = json.dumps(told, ensure_ascii=False)
        elif self._paper.people:
            line = clean(line)
            if separator and self._paper.colour:
                colour = self._colours.setdefault(service, _COLOURS[len(self._colours) % len(_COLOURS)])
                line = f"{click.style(clean(service), fg=colour)} | {clean(said)}"
        click.echo(line)
        if self._paper.people or not self._as_json:
            sys.stdout.flush()


COMMANDS = {"logs": logs}
