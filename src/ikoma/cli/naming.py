"""Words answers for the command line: what can be called is a command, ready to be pasted."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import click

from ikoma.cli.capability_index import read_commands
from ikoma.kernel.words import CapabilityNames, collect_texts, reword_failure, reword_result, reword_steps

_ARGUMENTS = {"app": "appName", "identity": "id"}
"""Parameter of a command → the argument that it gives, where that has another name."""
_NAMED = re.compile(r"(^|; )(\w+): ")
"""Where a refusal of arguments names one."""
_ARGUMENT = re.compile(r"`(\w+)`")
"""Where a sentence names an argument of the call that it answers."""
_AT_SERVER = re.compile(r"`ikoma psql( --admin)?`")
_TAKES = re.compile(r"`[^`]+` takes [\w?, ]+\.")


def split_command(capability: str) -> list[str]:
    """The words of its command; those of `ikoma call` where it has none of its own."""
    known = read_commands().get(capability)
    return ["ikoma", *(known.listing.verb.split() if known and known.listing.verb else ("call", capability))]


def write_command_line(capability: str, arguments: Mapping[str, Any]) -> str:
    """The whole command that makes a call, quoted for a shell."""
    words = split_command(capability)
    if not arguments:
        return shlex.join(words)
    if words[1] != "call":
        given = _word_arguments(words, arguments)
        if given is not None:
            return shlex.join([*words, *given])
    return shlex.join(["ikoma", "call", capability, *_write_pairs(arguments)])


def word_call(capability: str) -> str:
    """The called capability as it is called here; unchanged where nothing of that name can be called."""
    return shlex.join(split_command(capability)) if capability in read_commands() else capability


class AnswerWording:
    """Words the answer to one call.

    Args:
        given: the call's arguments. What is said of its app names that app.
    """

    def __init__(self, capability: str, given: Mapping[str, Any]) -> None:
        self._capability = capability
        self._app = given.get("appName")
        self._data = collect_texts({name: value for name, value in given.items() if name != "appName"})

    def word_sentence(self, text: str) -> str:
        if "`" in text:
            text = _ARGUMENT.sub(self._write_argument, text)
            if self._app is not None:
                text = _AT_SERVER.sub(lambda found: f"{found[0][:-1]} {shlex.quote(str(self._app))}`", text)
        if not any(name in text for name in read_commands()):  # what finds them costs more than most calls
            return text
        return _load_names().reword(text, self._say, self._data, quoted=True)

    def word_failure(self, told: Mapping[str, Any]) -> dict[str, Any]:
        if told.get("code") == "app_not_found":  # what is no app's name may be a secret, pasted in the wrong place
            self._app = None
        worded = _word_lead(reword_failure(told, self.word_sentence))
        return _word_arguments_error(self._capability, worded) if told.get("code") == "invalid_arguments" else worded

    def word_result(self, result: Any) -> Any:
        return self._word_result(self._capability, result)

    def _word_result(self, capability: str, result: Any) -> Any:
        known = read_commands().get(capability)
        if known is None or not isinstance(result, dict):
            return result
        result = _word_lead(reword_result(result, [*known.sentences, ("message",)], self.word_sentence))
        if capability == "operations.list":
            return {**result, "operations": list(map(_lead_to_app, result["operations"]))}
        if capability.startswith("operations.") and "capability" in result:
            result = _lead_to_app(result)
            made = AnswerWording(result["capability"], {"appName": result.get("appName")})
            result["result"] = made.word_result(result.get("result"))
            if result.get("failure"):
                result["failure"] = made.word_failure(result["failure"])
        return result

    def _write_argument(self, found: re.Match[str]) -> str:
        """An argument of the very call as it is typed: `--tail`."""
        known = read_commands().get(self._capability)
        if known is None or found[1] not in known.properties:
            return found[0]
        return f"`{_map_typed(self._capability).get(found[1], found[1])}`"

    def _say(self, capability: str, given: Mapping[str, Any]) -> str:
        takes_app = "appName" in read_commands()[capability].properties
        if not takes_app or self._app is not None:
            return write_command_line(capability, {**({"appName": self._app} if takes_app else {}), **given})
        words = split_command(capability)
        return shlex.join([*words, *(["--app"] if words[1] == "call" else []), "APP"])


def _lead_to_app(operation: Mapping[str, Any]) -> dict[str, Any]:
    """An operation whose steps name commands for its own app."""
    words = AnswerWording(operation["capability"], {"appName": operation.get("appName")})
    return reword_steps(operation, words.word_sentence)


def _word_lead(told: Mapping[str, Any]) -> dict[str, Any]:
    """The answer with the call that leads on as a command."""
    lead = told.get("next")
    if not isinstance(lead, dict) or lead.keys() != {"capability", "arguments"}:
        return dict(told)
    return {**told, "next": {"command": write_command_line(lead["capability"], lead["arguments"])}}


def _word_arguments_error(capability: str, told: Mapping[str, Any]) -> dict[str, Any]:
    """A failure of arguments, each named as it is typed: APP, --read-only."""
    words = split_command(capability)
    if words[1] == "call":
        return dict(told)
    typed = {"body": "", **_map_typed(capability)}

    def worded(match: re.Match[str]) -> str:
        word = typed.get(match[2], match[2])
        return f"{match[1]}{word}: " if word else match[1]

    said = {**told, "error": _NAMED.sub(worded, told["error"])}
    if _TAKES.fullmatch(told.get("hint") or ""):
        said["hint"] = f"`{shlex.join(words)} --help` shows what it takes."
    if wrong := (told.get("details") or {}).get("arguments"):
        named = [{**item, "word": typed.get(item["argument"], item["argument"])} for item in wrong]
        said["details"] = {**told["details"], "arguments": named}
    return said


def _map_typed(capability: str) -> dict[str, str]:
    """Arguments → how each is typed: its place where it has one, else its option."""
    words = split_command(capability)
    if words[1] == "call":
        given = read_commands()[capability].properties
        return {name: "--app" if name == "appName" else f"--arg {name}=" for name in given}
    typed: dict[str, str] = {}
    for parameter in _find_command(words).params:
        typed.setdefault(_find_argument(parameter), _name_parameter(parameter))
    return typed


def _name_parameter(parameter: click.Parameter) -> str:
    if isinstance(parameter, click.Argument):
        return parameter.human_readable_name.strip("[].")
    return max(parameter.opts, key=len)


@cache
def _load_names() -> CapabilityNames:
    return CapabilityNames(read_commands())


def _word_arguments(words: list[str], arguments: Mapping[str, Any]) -> list[str] | None:
    """Words that follow the command's; None where it has no place for one of the arguments."""
    parameters: dict[str, click.Parameter] = {}
    for parameter in _find_command(words).params:  # what has a place needs no option
        parameters.setdefault(_find_argument(parameter), parameter)
    if not arguments.keys() <= parameters.keys():
        return None
    named = {_find_argument(parameter): parameter for parameter in _find_command(words).params}
    placed: list[str] = []
    options: list[str] = []
    is_skipped = False
    for name, parameter in parameters.items():  # in the order of the command's own help
        if name not in arguments:
            is_skipped = is_skipped or isinstance(parameter, click.Argument)
        elif isinstance(parameter, click.Argument) and not is_skipped:
            placed += _list_texts(arguments[name])
        elif isinstance(parameter, click.Argument):
            options += _write_option(named[name], arguments[name])
        else:
            options += _write_option(parameter, arguments[name])
    return [*placed, *options] if not any(text.startswith("-") for text in placed) else [*options, "--", *placed]


def _find_command(words: list[str]) -> click.Command:
    from ikoma.cli import main

    command: click.Command | None = main
    for word in words[1:]:
        assert isinstance(command, click.Group)
        command = command.get_command(click.Context(command), word)
    assert command is not None
    return command


def _find_argument(parameter: click.Parameter) -> str:
    from ikoma.cli import verbs

    if isinstance(parameter, verbs.NamelessArgument):
        return parameter.argument
    name = parameter.name or ""
    first, *rest = _ARGUMENTS.get(name, name).split("_")
    return first + "".join(part.title() for part in rest)


def _write_option(parameter: click.Parameter, value: Any) -> Iterator[str]:
    if isinstance(value, bool):
        flags = parameter.opts if value else parameter.secondary_opts
        yield from flags[:1]
        return
    for text in _list_texts(value):
        yield from (max(parameter.opts, key=len), text)


def _list_texts(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [f"{name}={item}" for name, item in value.items()]
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]


def _write_pairs(arguments: Mapping[str, Any]) -> Iterator[str]:
    for name, value in arguments.items():
        if name == "appName":
            yield from ("--app", str(value))
        else:
            yield from ("--arg", f"{name}={value if isinstance(value, str) else json.dumps(value)}")
