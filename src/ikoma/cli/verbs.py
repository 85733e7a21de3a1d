"""The friendly verbs: commands made from the capabilities' own request models."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ikoma.cli import brief, client, consent, output
from ikoma.cli.catalogue import FROM_FILES, VERBS
from ikoma.cli.commands import read_commands

_UNSEEN = "@FILE reads it from a file; left out, it comes from stdin, or is asked for unseen."


class _Switch(click.Option):
    """One of two flags that must be given: errors name both."""

    def get_error_hint(self, ctx: click.Context | None) -> str:
        return " / ".join(f"'{flag}'" for flag in (*self.opts, *self.secondary_opts))


def verb_command(name: str) -> click.Command:
    """The command for a verb: APP as argument, everything else as options, `--json` for scripts."""
    capability = VERBS[name].capability
    described = read_commands()[capability]
    parameters: list[click.Parameter] = []
    if "appName" in described.properties:
        needed = "appName" in described.required
        shown = "APP" if needed else "[APP]"
        of_app = click.Argument(["app_name"], metavar=shown, required=needed, shell_complete=client.complete_apps)
        parameters.append(of_app)
    for argument in VERBS[name].behind:
        parameters.append(_behind(argument, argument in described.required))
    for argument, schema in described.properties.items():
        if (capability, argument) in FROM_FILES:
            parameters.append(_from_file(argument, FROM_FILES[capability, argument], schema))
        elif argument not in ("appName", *VERBS[name].behind):
            needed = argument in described.required and argument not in described.sensitive
            option = _option(argument, schema, needed)
            if argument in described.sensitive and argument in described.required:
                option.help = " ".join(filter(None, (option.help, _UNSEEN)))
            parameters.append(option)
    if described.asks:
        parameters.append(consent.yes_option())
    parameters.append(click.Option(["--json", "as_json"], is_flag=True, help="Print the result as JSON."))

    def run(as_json: bool, app_name: str | None = None, yes: bool = False, **options: Any) -> None:
        given = {key: value.read() if hasattr(value, "read") else value for key, value in options.items()}
        arguments = {_camel(key): value for key, value in given.items() if value is not None and value != ()}
        if app_name is not None:
            arguments["appName"] = app_name
        for argument in described.sensitive:
            if argument in described.required:
                arguments[argument] = _secret(argument, arguments.get(argument))
        typed = {key: _value(described.properties[key], item) for key, item in arguments.items()}
        perform(capability, typed, as_json, yes=yes)

    kind = consent.CarefulCommand if described.asks or described.takes_away else click.Command
    return kind(name, params=parameters, callback=run, help=described.description, short_help=described.summary)


def perform(name: str, arguments: Mapping[str, Any], as_json: bool, *, yes: bool = False) -> None:
    """Call the capability, with a progress bar where it changes something, and print what it answers.

    Args:
        yes: a person has agreed to what it may lose for good.
    """

    def act(arguments: Mapping[str, Any], *, asks: bool) -> Any:
        if not _is_long(name):
            return client.call(name, arguments, asks=asks)
        with output.progress_bar() as progress:
            return client.call(name, arguments, progress, asks=asks)

    try:
        result = consent.perform(name, arguments, act, yes=yes, as_json=as_json)
    except client.Failed as failed:
        if as_json:
            click.echo(json.dumps(failed.answer, ensure_ascii=False, indent=2))
            raise SystemExit(1) from None
        output.refuse(failed.answer)
    output.show(result if as_json else brief.of(name, result), as_json)


def arguments_of(name: str, pairs: tuple[str, ...]) -> dict[str, Any]:
    """`k=v` pairs as a capability's arguments; `k=@FILE` reads the value from a file."""
    known = read_commands().get(name)
    properties = known.properties if known else {}
    arguments = {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not separator:
            raise click.UsageError(f"--arg takes name=value, not {pair!r}")
        if text.startswith("@"):
            text = Path(text[1:]).read_text()
        arguments[key] = _value(properties.get(key, {}), text)
    return arguments


def _secret(name: str, given: str | None) -> str:
    """A value that had better not stand in a command line: from @FILE, from stdin, or asked for unseen."""
    if given is not None:
        return Path(given[1:]).read_text() if given.startswith("@") else given
    if sys.stdin.isatty():
        typed: str = click.prompt(name.capitalize(), hide_input=True)
        return typed
    return sys.stdin.read().removesuffix("\n")


def _is_long(name: str) -> bool:
    known = read_commands().get(name)
    return known is not None and known.changes


def _option(name: str, described: dict[str, Any], required: bool) -> click.Option:
    flag = "--" + _snake(name).replace("_", "-")
    kind: Any = {"integer": int, "number": float}.get(_type(described), str)
    if "enum" in described:
        kind = click.Choice(described["enum"])
    if _type(described) == "boolean":
        opposite = "" if described.get("default") is False else "/--off" if flag == "--on" else f"/--no-{flag[2:]}"
        if required:  # without a default, even None: click would take that for the answer
            return _Switch([flag + opposite], is_flag=True, required=True, help=_help(described))
        return click.Option([flag + opposite], is_flag=True, default=None, help=_help(described))
    if _type(described) in ("object", "array"):
        metavar = "NAME=VALUE" if _type(described) == "object" else "TEXT"
        return click.Option([flag], multiple=True, metavar=metavar, help=described.get("description"))
    return click.Option([flag], type=kind, required=required, help=_help(described))


def _behind(name: str, needed: bool) -> click.Argument:
    shown = name.upper() if needed else f"[{name.upper()}]"
    return click.Argument([_snake(name)], metavar=shown, required=needed)


def _from_file(name: str, flag: str, described: dict[str, Any]) -> click.Option:
    """An option whose value is what a file of this machine holds; `-` is stdin."""
    kind = click.File("r", encoding="utf-8", errors="strict")
    return click.Option([flag, name], type=kind, metavar="FILE", help=described.get("description"))


def _help(described: dict[str, Any]) -> str | None:
    """What an option is, and what it is where it is not given."""
    said, default = described.get("description"), described.get("default")
    if default in (None, False, ""):
        return said
    return f"{said or ''}  [default: {'yes' if default is True else default}]".strip()


def _value(described: dict[str, Any], value: Any) -> Any:
    """A command line's text as the type the argument has; what does not fit is the server's to refuse."""
    kind = _type(described)
    if kind == "object" and isinstance(value, tuple):
        return dict(item.partition("=")[::2] for item in value)
    if kind == "array" and isinstance(value, tuple):
        return list(value)
    if isinstance(value, str) and kind in ("integer", "number", "boolean", "object", "array"):
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            return value
    return value


def _type(described: dict[str, Any]) -> str:
    kinds = [part.get("type") for part in described.get("anyOf", [described])]
    return next((kind for kind in kinds if kind and kind != "null"), "string")


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)
