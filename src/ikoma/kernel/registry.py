"""The registry: every capability, declared once.

All doors read it: HTTP routes, CLI commands, OpenAPI and the documentation follow from what stands here. A
capability is one function with a request model and a result type; `@capability` adds it when its module is imported.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import re
import typing
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import islice
from typing import Any, ClassVar, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticSerializationError

from ikoma.errors import InvalidArguments, Next, UnknownCapability
from ikoma.kernel.listing import Listing, listed, read_listing
from ikoma.kernel.page import ResultPage
from ikoma.kernel.redaction.places import Path
from ikoma.kernel.redaction.redaction import redact_all, withhold_if_long
from ikoma.kernel.words import RESULT_FIELDS
from ikoma.model import NAMES_OF_CALLS, AppName, Effect, Role, quote_name

__all__ = [
    "AppRequest",
    "Capability",
    "Loses",
    "Loss",
    "Registry",
    "Request",
    "Result",
    "Sensitive",
    "StoredFailure",
    "Untrusted",
    "capability",
    "listed",
    "optional",
    "registry",
]

R = TypeVar("R", bound="Request")

BODY_LIMIT = 1 << 20
SQL_BODY_LIMIT = 32 << 20
FILE_BODY_LIMIT = 12 << 20
MOST_LISTED = 1000
"""The most items that a list can be asked for; each list has a lower number of its own that it gives unasked."""
LONGEST_NAME = 80
"""Of the names that others make up, so many characters are shown: longer ones not at all."""

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
        use_attribute_docstrings=True,
    )


class AppRequest(Request):
    """Arguments of a capability that works on one app."""

    app_name: AppName

    @property
    def locked(self) -> AppName:
        """The app that an exclusive call works on alone; another one for a call that only looks at this one."""
        return self.app_name


class Result(BaseModel):
    """The answer of a capability: camelCase."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, use_attribute_docstrings=True)
    page: ClassVar[ResultPage | None] = None
    """The result as a person sees it."""


def optional(empty: Any = None) -> Any:
    """A field that a result has only where it says something: else it is left out of the answer."""
    return Field(default=empty, exclude_if=lambda value: not value)


@dataclass(frozen=True, slots=True)
class Sensitive:
    """Marks an argument whose value never reaches the audit log: `Annotated[str, Sensitive("SQL")]`."""

    what: str


@dataclass(frozen=True, slots=True)
class Untrusted:
    """Marks a part of a result that others wrote: `Annotated[list[str], Untrusted("container logs")]`.

    A model must take such text for data, never for instructions: the MCP door hands it over wrapped.
    """

    what: str
    ours: bool = False
    """Whether words and names of IKOMA's own stand in it too."""


@dataclass(frozen=True, slots=True)
class StoredFailure(Untrusted):
    """Marks a failure that was written down: each door tells it as one that has just happened."""


@dataclass(frozen=True, slots=True)
class Loss:
    """Things that a destroying call would take away, exactly: one line for each, and what of it remains."""

    summary: str
    lost: tuple[str, ...]
    kept: tuple[str, ...] = ()


Loses = Callable[[Any, Any], Awaitable[Loss | None]]
"""Looks at what a call, with its request, would lose for good; None where that is nothing. Changes nothing."""

_TAKING = frozenset(
    ("abandon", "cancel", "delete", "deny", "down", "drain", "prune", "remove", "revoke", "rotate", "unset", "unwaive")
)
"""Verbs of what takes something away, whether or not it can be brought back."""


@dataclass(frozen=True)
class Capability:
    """One thing that can be done."""

    name: str
    role: Role
    effect: Effect
    request: type[Request]
    result: Any
    run: Callable[[Any, Any], Awaitable[Any]]
    description: str
    body_limit: int
    exclusive: bool
    """True when no other exclusive call may work on the same app meanwhile."""
    idempotent: bool
    """True when the same call again changes nothing more."""
    open_world: bool
    """True when it reaches beyond this machine: image registries, git hosts."""
    loses: Loses | None
    """What a person is told before it is done; one that destroys always loses something, others in some calls."""
    undo: str
    """The capability that brings back what it took away or replaced; empty where nothing does."""
    harmless: str
    """Why nobody is asked, though no capability undoes it: what becomes of what it changes."""
    needs_approval: bool
    """Whether a key that needs approval must have another key's consent to it; true of all that destroy."""
    unaudited: bool
    """Whether it goes on where its intent cannot be written down: what takes load off a full server does."""
    queued: bool
    """Whether it waits for the app's lock for as long as it takes; a newer call takes the place of one that waits."""
    rare: bool
    """Whether the MCP door lists it only to those who choose its toolset: every tool listed costs each conversation."""
    listing: Listing = dataclasses.field(default_factory=Listing, compare=False)
    """Its task, its command, and what its answer means."""

    @property
    def toolset(self) -> str:
        """The tools that a client of the MCP door chooses together."""
        return self.name.partition(".")[0]

    @property
    def summary(self) -> str:
        return self.description.split("\n", 1)[0]

    @property
    def takes_away(self) -> bool:
        """Whether it is there to take something away: such a one is never suggested for a name that is misspelt."""
        return self.effect is Effect.DESTROYS or self.name.rsplit(".", 1)[-1] in _TAKING

    @cached_property
    def result_adapter(self) -> TypeAdapter[Any]:
        return TypeAdapter(self.result)

    @cached_property
    def sensitive(self) -> Mapping[str, str]:
        """Argument name → what it holds, for arguments that the audit log must not quote."""
        marked = {}
        for name, field in self.request.model_fields.items():
            for mark in field.metadata:
                if isinstance(mark, Sensitive):
                    marked[field.alias or name] = mark.what
        return marked

    @cached_property
    def secret_results(self) -> frozenset[str]:
        """Names of what the result shows this once and no record may keep."""
        fields = getattr(self.result, "model_fields", {})
        return frozenset(
            field.alias or name
            for name, field in fields.items()
            if any(isinstance(mark, Sensitive) for mark in field.metadata)
        )

    @cached_property
    def untrusted(self) -> Sequence[tuple[Path, Untrusted]]:
        """Where in the result's JSON stands what others wrote."""
        return tuple(_find_marks(self.result, ()))

    @cached_property
    def leads(self) -> Sequence[Path]:
        """Where in the result's JSON stands a call that leads on."""
        return tuple(_find_leads(self.result, ()))

    @cached_property
    def sentences(self) -> Sequence[Path]:
        """Where in the result's JSON stand IKOMA's own sentences."""
        return tuple(_find_sentences(self.result, ()))

    @cached_property
    def arguments(self) -> Mapping[str, bool]:
        """Argument name → whether it must be given."""
        return _list_arguments(self.request)

    def parse(self, arguments: Mapping[str, Any]) -> Request:
        """The typed request, or InvalidArguments that names each argument and what is wrong with it."""
        return parse_arguments(self.request, arguments, of=self.name, guesses=self.guesses)

    @property
    def guesses(self) -> bool:
        """Whether a refusal of it may say which name was meant: never where a wrong guess could cost something."""
        return not self.takes_away and self.loses is None

    def encode(self, result: Any) -> bytes:
        """The result as JSON."""
        try:
            return self.result_adapter.dump_json(result, by_alias=True)
        except PydanticSerializationError:  # the name of a file, say, in bytes that are no UTF-8
            return orjson.dumps(redact_all(self.result_adapter.dump_python(result, by_alias=True, mode="json"), ()))


def _find_marks(kind: Any, path: Path) -> Iterator[tuple[Path, Untrusted]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        for name, field in kind.model_fields.items():
            here = (*path, field.serialization_alias or field.alias or name)
            marks = [mark for mark in field.metadata if isinstance(mark, Untrusted)]
            if marks:
                yield here, marks[0]
            else:
                yield from _find_marks(field.annotation, here)
        return
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) is typing.Annotated:
        marks = [mark for mark in arguments[1:] if isinstance(mark, Untrusted)]
        if marks:
            yield path, marks[0]
            return
    inner = (*path, "*") if typing.get_origin(kind) in (list, tuple) else path
    for argument in arguments:
        yield from _find_marks(argument, inner)


def _find_leads(kind: Any, path: Path) -> Iterator[Path]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        for name, field in kind.model_fields.items():
            yield from _find_leads(field.annotation, (*path, field.serialization_alias or field.alias or name))
    elif kind is Next:
        yield path
    inner = (*path, "*") if typing.get_origin(kind) in (list, tuple) else path
    for argument in typing.get_args(kind):
        yield from _find_leads(argument, inner)


def _find_sentences(kind: Any, path: Path) -> Iterator[Path]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        for name, field in kind.model_fields.items():
            here = (*path, field.serialization_alias or field.alias or name)
            others = any(isinstance(mark, Untrusted) and not mark.ours for mark in field.metadata)
            if name in RESULT_FIELDS and not others and _is_text(field.annotation):
                yield here
            elif not others:
                yield from _find_sentences(field.annotation, here)
    inner = (*path, "*") if typing.get_origin(kind) in (list, tuple, dict) else path
    for argument in typing.get_args(kind):
        yield from _find_sentences(argument, inner)


def _is_text(kind: Any) -> bool:
    """Whether a field holds a text, or a list of texts, and nothing else."""
    return kind in (str, None, type(None)) or (
        bool(typing.get_args(kind)) and all(map(_is_text, typing.get_args(kind)))
    )


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
    takes = ", ".join(f"{name}{'' if needed else '?'}" for name, needed in _list_arguments(model).items()) or "nothing"
    sentence = "; ".join([*said, f"and {more} more"] if more else said)
    raise InvalidArguments(
        sentence if sentence.endswith("?") else f"{sentence}.",
        hint=f"{of} takes {takes}.",
        arguments=problems,
    )


def _limit_arguments(model: type[Request], arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """The arguments that it takes, and of unknown ones no more than are named."""
    known = _list_arguments(model)
    if len(arguments) <= len(known) + _MOST_PROBLEMS:
        return arguments
    unknown = islice((name for name in arguments if name not in known), _MOST_PROBLEMS)
    return {name: arguments[name] for name in (*known, *unknown) if name in arguments}


@cache
def _read_properties(model: type[Request]) -> Mapping[str, Any]:
    properties: Mapping[str, Any] = model.model_json_schema(by_alias=True).get("properties", {})
    return properties


@cache
def _list_arguments(model: type[Request]) -> dict[str, bool]:
    return {field.alias or name: field.is_required() for name, field in model.model_fields.items()}


def _describe_problem(model: type[Request], entry: Any, *, guesses: bool) -> dict[str, Any]:
    name = ".".join(withhold_if_long(str(part), LONGEST_NAME, "name") for part in entry["loc"]) or "body"
    kind, message = entry["type"], str(entry["msg"])
    if kind == "extra_forbidden":
        known = _list_arguments(model)
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


class Registry:
    """Capabilities by name, in alphabetical order."""

    def __init__(self) -> None:
        self._capabilities: dict[str, Capability] = {}

    def add(self, item: Capability) -> None:
        if item.name in self._capabilities:
            raise ValueError(f"capability {item.name} is declared twice")
        self._capabilities[item.name] = item
        NAMES_OF_CALLS.add(item.name)

    def get(self, name: str) -> Capability:
        """The capability of that name; UnknownCapability, with the nearest name, when there is none.

        Where the nearest takes something away none is named: who did not write it may not have meant it.
        """
        found = self._capabilities.get(name)
        if found is None:
            shown = withhold_if_long(name, LONGEST_NAME, "name")
            near = difflib.get_close_matches(shown.lower(), self._capabilities, n=1, cutoff=0.5)
            is_safe = near and not self._capabilities[near[0]].takes_away
            raise UnknownCapability(
                f"There is no capability {shown!r}.", hint=f"Did you mean {near[0]}?" if is_safe else None
            )
        return found

    def __contains__(self, name: str) -> bool:
        return name in self._capabilities

    def __iter__(self) -> Iterator[Capability]:
        return iter(sorted(self._capabilities.values(), key=lambda item: item.name))

    def __len__(self) -> int:
        return len(self._capabilities)

    def list_names(self) -> list[str]:
        return sorted(self._capabilities)


registry = Registry()
"""The product's own registry, filled by importing `ikoma.capabilities`."""


def capability(
    name: str,
    *,
    role: Role,
    effect: Effect,
    takes_sql: bool = False,
    takes_files: bool = False,
    exclusive: bool | None = None,
    idempotent: bool = False,
    open_world: bool = False,
    loses: Loses | None = None,
    undo: str = "",
    harmless: str = "",
    needs_approval: bool = False,
    unaudited: bool = False,
    queued: bool = False,
    rare: bool = False,
    into: Registry = registry,
) -> Callable[[Callable[[Any, Any], Awaitable[Any]]], Callable[[Any, Any], Awaitable[Any]]]:
    """Declare a function as a capability.

    Args:
        name: namespace, dot, verb.
        role: the lowest role that may call it.
        effect: what it does to the world; anything but READS is journalled before it acts.
        takes_sql: the body may be as large as SQL files are.
        takes_files: the body may be as large as a file of source is, in base64.
        exclusive: whether it holds the app's lock; by default when it changes something.
        idempotent: the same call again changes nothing more; reads always are.
        open_world: it reaches beyond this machine.
        loses: says what would be lost for good; needed where the effect is DESTROYS.
        undo: the capability that brings back what this one takes away or replaces.
        harmless: why nobody is asked, where nothing of that is true.
        needs_approval: keys that need approval need it for this too, though it destroys nothing.
        unaudited: it goes on, also where the audit log cannot be written.
        queued: it waits for the app's lock, and of several that wait only the newest is done.
        rare: it is set up once in an app's life, if at all.
        into: where to declare it; the product's registry unless a test says otherwise.
    """

    def declare(run: Callable[[Any, Any], Awaitable[Any]]) -> Callable[[Any, Any], Awaitable[Any]]:
        if effect is Effect.DESTROYS and loses is None:
            raise ValueError(f"{name}: a capability that destroys says what it loses")
        hints = typing.get_type_hints(run, include_extras=True)
        into.add(
            Capability(
                name=name,
                role=role,
                effect=effect,
                request=hints["request"],
                result=hints["return"],
                run=run,
                description=inspect.cleandoc(run.__doc__ or ""),
                body_limit=SQL_BODY_LIMIT if takes_sql else FILE_BODY_LIMIT if takes_files else BODY_LIMIT,
                exclusive=effect is not Effect.READS if exclusive is None else exclusive,
                idempotent=idempotent or effect is Effect.READS,
                open_world=open_world,
                loses=loses,
                undo=undo,
                harmless=harmless,
                needs_approval=needs_approval or effect is Effect.DESTROYS,
                unaudited=unaudited,
                queued=queued,
                rare=rare,
                listing=read_listing(run),
            )
        )
        return run

    return declare
