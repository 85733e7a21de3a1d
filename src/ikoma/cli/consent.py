"""Asks the person at the terminal before something is lost for good, and guesses at nothing that takes away.

The server says what would be lost, and goes on once the same call comes again with the token of that answer.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any, NoReturn, Protocol

import click

from ikoma.cli import client
from ikoma.cli.capability_index import read_commands

NO_TERMINAL = 2
"""The exit code where a person would have to be asked and there is no terminal."""


class Act(Protocol):
    def __call__(self, arguments: Mapping[str, Any], *, asks: bool) -> Any:
        """Make the call. With `asks`, what would lose something for good is refused with what that is."""


def perform(capability: str, arguments: Mapping[str, Any], act: Act, *, yes: bool, as_json: bool = False) -> Any:
    """Make a call, and ask first where it would lose something for good.

    Args:
        yes: the person has agreed already.
        as_json: without a terminal, print what would be lost as JSON.
    """
    try:
        return act(arguments, asks=not yes)
    except client.CallFailed as failed:
        if failed.answer["code"] != "confirmation_needed":
            raise
        answer = failed.answer
    if not sys.stdin.isatty():
        _refuse(answer, as_json)
    plan = answer["details"]
    _show(plan)
    if not _agrees(capability, arguments):
        _end_unchanged()
    return act({**arguments, "confirmation": plan["confirmation"]}, asks=True)


def require_agreement(question: str) -> None:
    """Ask the person at the terminal; without a yes nothing is changed, and the process ends."""
    if not sys.stdin.isatty():
        _end_without_terminal()
    if not click.confirm(question, err=True):
        _end_unchanged()


def _agrees(capability: str, arguments: Mapping[str, Any]) -> bool:
    known = read_commands().get(capability)
    if known is not None and known.listing.typed_again:
        name = str(arguments[known.listing.typed_again])
        typed: str = click.prompt(f"Type the name, {name}, to go on", default="", show_default=False, err=True)
        return typed.strip() == name
    return click.confirm("Go on?", err=True)


def _refuse(answer: Mapping[str, Any], as_json: bool) -> NoReturn:
    if as_json:
        click.echo(json.dumps(answer, ensure_ascii=False, indent=2))
    else:
        _show(answer["details"])
    _end_without_terminal()


def _end_without_terminal() -> NoReturn:
    click.secho("error: A person must agree to this, and there is no terminal to ask at.", fg="red", err=True)
    click.echo("hint:  Nothing was changed. A script that means it gives --yes.", err=True)
    sys.exit(NO_TERMINAL)


def _end_unchanged() -> NoReturn:
    click.echo("Nothing was changed.", err=True)
    sys.exit(1)


def _show(plan: Mapping[str, Any]) -> None:
    click.secho(plan["summary"], bold=True, err=True)
    for title, lines in (("Lost:", plan["lost"]), ("Kept:", plan["kept"])):
        if lines:
            click.echo("\n".join([title, *(f"  - {line}" for line in lines)]), err=True)


class CarefulCommand(click.Command):
    """A command that takes something away: an option that it does not have is refused without a guess."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise click.NoSuchOption(error.option_name, ctx=ctx) from None


class CarefulGroup(click.Group):
    """A group of such commands: none of them is guessed."""

    command_class = CarefulCommand

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise click.UsageError(f"No such command {args[0]!r}.", ctx)
        return super().resolve_command(ctx, args)


_YES = "Agree to lose what would be asked about, as scripts must."
YES = click.option("--yes", is_flag=True, help=_YES)


def make_yes_option() -> click.Option:
    """Add the option --yes to a command that is made of its parts."""
    return click.Option(["--yes"], is_flag=True, help=_YES)
