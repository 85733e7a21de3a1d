"""The friendly verbs: commands made from the capabilities' own request models.

What must be given stands in the line in its order, `ikoma domain-add myapp shop.example.com`; everything may also be
given by its name, `--domain shop.example.com`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from ikoma.cli import client, complete, consent, interrupts, output, stdin, views
from ikoma.cli.capability_index import Command, read_commands, read_verbs
from ikoma.cli.naming import AnswerWording
from ikoma.cli.progress import progress_bar

LIMIT_OPTION = click.option("--limit", type=int, help="How many to show.")
JSON_OPTION = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")

_FROM_FILE = "@FILE reads it from a file"
_LEFT_OUT = "left out, it comes from stdin"
_TYPED = {"sql": "SQL", "new": "new text"}
"""Arguments typed for all to see, since they have lines and are no secret."""
_METAVARS = {"appName": "APP", "operationId": "ID", "to": "RELEASE", "backupName": "NAME", "on": "on|off"}
_OPTIONS = {"appName": "--app"}
_YES, _NO = ("on", "true", "yes"), ("off", "false", "no")


class NamelessArgument(click.Argument):
    """An argument that needs no name."""

    def __init__(self, declared: list[str], *, argument: str, **more: Any) -> None:
        super().__init__(declared, **more)
        self.argument = argument


def make_verb_command(name: str) -> click.Command:
    """The command for a verb: what must be given as arguments, everything as options, `--json` for scripts."""
    capability = read_verbs()[name]
    described = read_commands()[capability]
    listing, places = described.listing, _list_places(described)
    parameters: list[click.Parameter] = [
        NamelessArgument(
            [f"place_{number}"],
            argument=place,
            required=False,
            metavar=make_metavar(place) if place in described.required else f"[{make_metavar(place)}]",
            shell_complete=complete.make_completer(place, capability),
        )
        for number, place in enumerate(places)
    ]
    needed = [name for name in described.sensitive if name in described.required or name in listing.unseen]
    for argument, schema in described.properties.items():
        option = (
            _make_file_option(argument, listing.from_files[argument], schema)
            if argument in listing.from_files
            else _make_option(argument, schema, complete.make_completer(argument, capability))
        )
        if argument in needed:
            said = _describe_source(argument, may_be_left_out=argument == needed[-1])
            option.help = " ".join(filter(None, (option.help, said)))
        parameters.append(option)
    if described.asks:
        parameters.append(consent.make_yes_option())
    parameters.append(click.Option(["--json", "as_json"], is_flag=True, help="Print the result as JSON."))

    def run(as_json: bool, yes: bool = False, **options: Any) -> None:
        words = [options.pop(f"place_{number}") for number in range(len(places))]
        given = {key: value for key, value in options.items() if value is not None and value != ()}
        arguments = gather_arguments(described, places, [word for word in words if word is not None], given)
        perform(capability, arguments, as_json, yes=yes)

    kind = _Careful if described.asks or described.takes_away else _Command
    return kind(name, params=parameters, callback=run, help=described.description, short_help=described.summary)


class _Command(click.Command):
    """Names other commands in its help, which is worded only when it is asked for."""

    def get_help(self, ctx: click.Context) -> str:
        say = AnswerWording(read_verbs()[self.name or ""], {}).word_sentence
        self.help = say(self.help or "")
        for parameter in self.params:
            if isinstance(parameter, click.Option) and parameter.help:
                parameter.help = say(parameter.help)
        return super().get_help(ctx)


class _Careful(_Command, consent.CarefulCommand):
    """One that a person may be asked about first."""


def gather_arguments(
    described: Command, places: Sequence[str], words: Sequence[str], given: Mapping[str, Any]
) -> dict[str, Any]:
    """A capability's arguments: words in their places, where no option has given that already.

    Raises:
        click.UsageError: there are too many words, one is missing, or one is no number where it must be.
    """
    free = [place for place in places if place not in given]
    if len(words) > len(free):
        raise click.UsageError(f"Got unexpected extra argument ({words[len(free)]}).")
    from_files = described.listing.from_files
    typed = {
        place: read_file(word) if place in from_files else _convert_word(place, described.properties[place], word)
        for place, word in zip(free, words, strict=False)
    }
    arguments = typed | {name: _read(name, value, described) for name, value in given.items()}
    missing = [name for name in described.required if name not in arguments]
    missing += [
        name
        for name, instead in described.listing.unseen.items()
        if name not in arguments and not arguments.get(instead)
    ]
    if missing and missing == [name for name in described.sensitive if name in missing][-1:]:
        arguments[missing[0]] = _ask_secret(missing[0])
    elif missing:
        raise click.UsageError(f"Missing argument '{make_metavar(missing[0])}'.")
    return {name: _convert_value(described.properties[name], value) for name, value in arguments.items()}


def perform(name: str, arguments: Mapping[str, Any], as_json: bool, *, yes: bool = False) -> None:
    """Call the capability, print what it answers, and end with exit code 1 where that is a no.

    Args:
        yes: a person has agreed to what it may lose for good.
    """
    result = call(name, arguments, as_json, yes=yes)
    output.show(result, as_json, () if as_json else views.lay_out_result(name, result, arguments))
    if not views.is_well(name, result):
        sys.exit(1)


def call(name: str, arguments: Mapping[str, Any], as_json: bool, *, yes: bool = False) -> Any:
    """The capability's answer; where it changes something, with its progress, and Ctrl-C leaves it going on."""

    def act(arguments: Mapping[str, Any], *, asks: bool) -> Any:
        if not _is_long(name):
            return client.call(name, arguments, asks=asks)
        with interrupts.leave_on_interrupt(name, arguments) as begun, progress_bar() as progress:
            return client.call(name, arguments, progress, on_begin=begun, asks=asks)

    try:
        return consent.perform(name, arguments, act, yes=yes, as_json=as_json)
    except client.CallFailed as failed:
        output.fail_with(failed.answer, as_json)


def parse_pairs(name: str, pairs: tuple[str, ...]) -> dict[str, Any]:
    """`k=v` pairs as a capability's arguments; `k=@FILE` reads the value from a file."""
    known = read_commands().get(name)
    properties = known.properties if known else {}
    arguments = {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not separator:
            raise click.UsageError(f"--arg takes name=value, not {pair!r}")
        arguments[key] = _convert_value(properties.get(key, {}), read_file(text[1:]) if text.startswith("@") else text)
    return arguments


def read_file(path: str) -> str:
    """The content of a file of this machine, or of stdin for `-`."""
    try:
        return stdin.read_text() if path == "-" else Path(path).read_bytes().decode()
    except OSError as error:
        raise click.UsageError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise click.UsageError(f"{path} holds something else than text in UTF-8.") from None


def make_metavar(name: str) -> str:
    return _METAVARS.get(name, name.upper())


def _list_places(described: Command) -> list[str]:
    """Arguments that need no name: the app, what else is required, and what is often given."""
    required = [name for name in described.properties if name in described.required]
    ordered = sorted(required, key=lambda name: name != "appName")
    return [*ordered, *(name for name in described.listing.optional if name not in ordered)]


def _describe_source(argument: str, *, may_be_left_out: bool) -> str:
    """The source of a value that does not stand in the command line."""
    if not may_be_left_out:
        return f"{_FROM_FILE}."
    return f"{_FROM_FILE}; {_LEFT_OUT}{'' if argument in _TYPED else ', or is asked for unseen'}."


def _ask_secret(name: str) -> str:
    """A value that had better not stand in a command line: from stdin, or typed, a secret unseen."""
    if output.is_terminal(sys.stdin) and name not in _TYPED:
        typed: str = click.prompt(name.capitalize(), hide_input=True)
        return typed
    return stdin.read_text(_TYPED.get(name, "")).removesuffix("\n")


def _is_long(name: str) -> bool:
    known = read_commands().get(name)
    return known is not None and known.changes


def _name_flag(name: str) -> str:
    return _OPTIONS.get(name) or "--" + "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name)


def _make_option(name: str, described: dict[str, Any], finish: complete.Completer | None) -> click.Option:
    flag = _name_flag(name)
    kind: Any = {"integer": int, "number": float}.get(_name_type(described), str)
    if "enum" in described:
        kind, finish = click.Choice(described["enum"]), None
    if _name_type(described) == "boolean":
        opposite = "" if described.get("default") is False else "/--off" if flag == "--on" else f"/--no-{flag[2:]}"
        return click.Option([flag + opposite, name], is_flag=True, default=None, help=_write_help(described))
    if _name_type(described) in ("object", "array"):
        value = "NAME=VALUE" if _name_type(described) == "object" else "TEXT"
        return click.Option([flag, name], multiple=True, metavar=value, help=described.get("description"))
    return click.Option([flag, name], type=kind, help=_write_help(described), shell_complete=finish)


def _make_file_option(name: str, flag: str, described: dict[str, Any]) -> click.Option:
    """An option whose value is what a file of this machine holds; `-` is stdin."""
    kind = click.File("r", encoding="utf-8", errors="strict")
    return click.Option([flag, name], type=kind, metavar="FILE", help=described.get("description"))


def _write_help(described: dict[str, Any]) -> str | None:
    """The help of an option, with its default."""
    said, default = described.get("description"), described.get("default")
    if default in (None, False, ""):
        return said
    return f"{said or ''}  [default: {'yes' if default is True else default}]".strip()


def _read(name: str, value: Any, described: Command) -> Any:
    """The value given to an option: a file's text where it names a file."""
    if hasattr(value, "read"):
        try:
            return value.read()
        except UnicodeDecodeError:
            raise click.UsageError(f"{_name_flag(name)}: the file holds something else than text in UTF-8.") from None
    if isinstance(value, str) and value.startswith("@") and name in described.sensitive:
        return read_file(value[1:])
    return value


def _convert_word(name: str, described: dict[str, Any], word: str) -> Any:
    """A word of the command line as the type that its place has.

    Raises:
        click.UsageError: it cannot be one.
    """
    kind = _name_type(described)
    if kind == "boolean" and word.lower() in (*_YES, *_NO):
        return word.lower() in _YES
    if "enum" in described and word not in described["enum"]:
        raise click.UsageError(f"{make_metavar(name)} is {word!r}; it takes one of {', '.join(described['enum'])}.")
    if kind == "boolean" or (kind == "integer" and not word.lstrip("-").isdecimal()):
        wanted = "on or off" if kind == "boolean" else "a whole number"
        raise click.UsageError(f"{make_metavar(name)} is {word!r}; it takes {wanted}.")
    return word


def _convert_value(described: dict[str, Any], value: Any) -> Any:
    """A command line's text as the type the argument has; what does not fit is the server's to refuse."""
    kind = _name_type(described)
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


def _name_type(described: dict[str, Any]) -> str:
    kinds = [part.get("type") for part in described.get("anyOf", [described])]
    return next((kind for kind in kinds if kind and kind != "null"), "string")
