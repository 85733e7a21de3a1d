"""Requests: the arguments of capabilities, and what is said where a caller's do not fit."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from functools import cache
from itertools import islice
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator
from pydantic.alias_generators import to_camel

from ikoma.errors import InvalidArguments, MalformedRequest
from ikoma.kernel.redaction.redaction import withhold_if_long
from ikoma.kernel.schemas import make_request_schema
from ikoma.model import AppName, quote_name

R = TypeVar("R", bound="Request")

MOST_LISTED = 1000
"""The most items that a list can be asked for; each list has a lower number of its own that it gives unasked."""
LONGEST_NAME = 80
"""Limit of names that others make up: longer ones are not shown at all."""

_MOST_PROBLEMS = 20
_LONGEST_PROBLEM = 500


class Request(BaseModel):
    """Arguments of a capability: camelCase, strictly typed; unknown ones are refused, never dropped."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        alias_generator=to_camel,
        hide_input_in_errors=True,
        defer_build=True,
    )


class AppRequest(Request):
    """Arguments of a capability that works on one app."""

    app_name: AppName

    @property
    def locked(self) -> AppName:
        """The app that an exclusive call works on alone; another one for a call that only looks at this one."""
        return self.app_name


class NewAppRequest(AppRequest):
    """Arguments of a capability that makes an app."""

    @field_validator("app_name")
    @classmethod
    def is_no_preview(cls, name: AppName) -> AppName:
        if name.previewed is not None:
            raise ValueError("names with -- are those of previews: choose another")
        return name


def parse_arguments(model: type[R], arguments: Mapping[str, Any], *, of: str, guesses: bool = True) -> R:
    """The typed arguments; InvalidArguments names those that do not fit, what each takes, and an example.

    It names the first twenty and counts the rest: a caller may send very many, and everybody else would wait.

    Args:
        of: the capability, as the hint names it.
        guesses: whether it may say which name was meant.
    """
    few = _limit_arguments(model, arguments)
    try:
        return model.model_validate(few)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
    problems = [_describe_problem(model, entry, guesses=guesses) for entry in found[:_MOST_PROBLEMS]]
    more = len(found) - len(problems) + len(arguments) - len(few)
    said = [f"{quote_name(problem['argument'])}: {problem['problem']}" for problem in problems]
    takes = ", ".join(f"{name}{'' if needed else '?'}" for name, needed in list_arguments(model).items()) or "nothing"
    sentence = "; ".join([*said, f"and {more} more"] if more else said)
    raise InvalidArguments(
        sentence if sentence.endswith("?") else f"{sentence}.",
        hint=f"{of} takes {takes}.",
        arguments=problems,
    )


def _limit_arguments(model: type[Request], arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """The arguments that it takes, and of unknown ones no more than are named."""
    known = list_arguments(model)
    if len(arguments) <= len(known) + _MOST_PROBLEMS:
        return arguments
    unknown = islice((name for name in arguments if name not in known), _MOST_PROBLEMS)
    return {name: arguments[name] for name in (*known, *unknown) if name in arguments}


@cache
def _read_properties(model: type[Request]) -> Mapping[str, Any]:
    properties: Mapping[str, Any] = make_request_schema(model).get("properties", {})
    return properties


@cache
def list_arguments(model: type[Request]) -> dict[str, bool]:
    return {field.alias or name: field.is_required() for name, field in model.model_fields.items()}


def _describe_problem(model: type[Request], entry: Any, *, guesses: bool) -> dict[str, Any]:
    name = ".".join(withhold_if_long(str(part), LONGEST_NAME, "name") for part in entry["loc"]) or "body"
    kind, message = entry["type"], str(entry["msg"])
    if kind == "extra_forbidden":
        known = list_arguments(model)
        near = difflib.get_close_matches(name, known, n=1) if guesses else []
        return {"argument": name, "problem": "is unknown" + (f"; did you mean {near[0]}?" if near else "")}
    if not guesses:
        message = _GUESS.sub("", message)
    if kind == "string_pattern_mismatch":
        message = message.replace("'", "")  # in quotes stands what others wrote
    text = (
        "is missing" if kind == "missing" else withhold_if_long(message.removeprefix("Value error, "), _LONGEST_PROBLEM)
    )
    problem: dict[str, Any] = {"argument": name, "problem": text[:1].lower() + text[1:]}
    if not entry["loc"]:  # two arguments that do not go together
        return problem
    described = _read_properties(model).get(str(entry["loc"][0]), {})
    problem["example"] = make_example(described)
    return problem | ({"allowed": described["enum"]} if "enum" in described else {})


_GUESS = re.compile(r"; did you mean .*\?$")
_EXAMPLES: Mapping[str, Any] = {"integer": 1, "number": 1, "boolean": True, "array": [], "object": {}}


def make_example(schema: Mapping[str, Any]) -> Any:
    """A value that fits a property of a JSON schema."""
    described = next((part for part in schema.get("anyOf", []) if part.get("type") != "null"), schema)
    for source in (schema, described):
        if source.get("examples"):
            return source["examples"][0]
        if source.get("default") is not None:
            return source["default"]
    if "enum" in described:
        return described["enum"][0]
    return described.get("minimum", _EXAMPLES.get(described.get("type", "string"), "text"))


def check_writable(sent: Mapping[str, Any]) -> None:
    """Refuse text that cannot be written down, such as half of a surrogate pair, which some parsers take."""
    try:
        orjson.dumps(sent)
    except TypeError as error:
        raise MalformedRequest(_UNWRITABLE.get(str(error), "The arguments hold text that is not Unicode.")) from None


_UNWRITABLE = {
    "Recursion limit reached": "The arguments are nested too deeply.",
    "Integer exceeds 64-bit range": "The arguments hold a whole number of more than 64 bits.",
}
