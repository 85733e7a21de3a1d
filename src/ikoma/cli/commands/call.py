"""`ikoma call`: any capability by its name."""

from __future__ import annotations

import click

from ikoma.cli import complete, consent, verbs


@click.command(cls=consent.CarefulCommand)
@click.argument("capability", shell_complete=complete.complete_capability)
@click.option("--app", help="The app: the same as --arg appName=APP.", shell_complete=complete.apps)
@click.option("--arg", "pairs", multiple=True, metavar="NAME=VALUE", help="An argument; NAME=@FILE reads a file.")
@consent.YES
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def call(capability: str, app: str | None, pairs: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Call any capability by its name, such as deploy.up."""
    arguments = verbs.parse_pairs(capability, pairs)
    if app is not None:
        arguments["appName"] = app
    verbs.perform(capability, arguments, as_json, yes=yes)


COMMANDS = {"call": call}
