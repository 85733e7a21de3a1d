"""The registry: every capability, declared once.

All doors read it: HTTP routes, CLI commands, OpenAPI and the documentation follow from what stands here. A
capability is one function with a request model and a result type; `@capability` adds it when its module is imported.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson
from pydantic import TypeAdapter
from pydantic_core import PydanticSerializationError

from ikoma.errors import UnknownCapability
from ikoma.kernel.listing import Listing, listed, read_listing
from ikoma.kernel.nearest import find_nearest
from ikoma.kernel.redaction.places import Path
from ikoma.kernel.redaction.redaction import redact_all, withhold_if_long
from ikoma.kernel.requests import LONGEST_NAME, AppRequest, NewAppRequest, Request, list_arguments, parse_arguments
from ikoma.kernel.results import (
    Result,
    Sensitive,
    StoredFailure,
    Untrusted,
    find_leads,
    find_marks,
    find_sentences,
    make_optional,
)
from ikoma.model import NAMES_OF_CALLS, Effect, Role

__all__ = [
    "AppRequest",
    "Capability",
    "Loses",
    "Loss",
    "NewAppRequest",
    "Registry",
    "Request",
    "Result",
    "Sensitive",
    "StoredFailure",
    "Untrusted",
    "capability",
    "listed",
    "make_optional",
    "registry",
]


BODY_LIMIT = 1 << 20
SQL_BODY_LIMIT = 32 << 20
FILE_BODY_LIMIT = 12 << 20


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
    """Loss that a person is told before it is done; one that destroys always loses something, others in some calls."""
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
    """Task, command, and meaning of the answer."""

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
        """Places in the result's JSON of what others wrote."""
        return tuple(find_marks(self.result, ()))

    @cached_property
    def leads(self) -> Sequence[Path]:
        """Places in the result's JSON of a call that leads on."""
        return tuple(find_leads(self.result, ()))

    @cached_property
    def sentences(self) -> Sequence[Path]:
        """Places in the result's JSON of IKOMA's own sentences."""
        return tuple(find_sentences(self.result, ()))

    @cached_property
    def arguments(self) -> Mapping[str, bool]:
        """Argument name → whether it must be given."""
        return list_arguments(self.request)

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


class Registry:
    """Capabilities by name, in alphabetical order."""

    def __init__(self) -> None:
        self._capabilities: dict[str, Capability] = {}
        self._in_order: tuple[Capability, ...] = ()

    def add(self, item: Capability) -> None:
        if item.name in self._capabilities:
            raise ValueError(f"capability {item.name} is declared twice")
        self._capabilities[item.name] = item
        self._in_order = ()
        NAMES_OF_CALLS.add(item.name)

    def get(self, name: str) -> Capability:
        """The capability of that name; UnknownCapability, with the nearest name, when there is none.

        Where the nearest takes something away none is named: who did not write it may not have meant it.
        """
        found = self._capabilities.get(name)
        if found is None:
            shown = withhold_if_long(name, LONGEST_NAME, "name")
            near = find_nearest(shown, self._capabilities)
            is_safe = near is not None and not self._capabilities[near].takes_away
            raise UnknownCapability(
                f"There is no capability {shown!r}.", hint=f"Did you mean {near}?" if is_safe else None
            )
        return found

    def __contains__(self, name: str) -> bool:
        return name in self._capabilities

    def __iter__(self) -> Iterator[Capability]:
        return iter(self.in_order)

    def __len__(self) -> int:
        return len(self._capabilities)

    @property
    def in_order(self) -> tuple[Capability, ...]:
        """All of them; the same tuple until another is added."""
        if not self._in_order:
            self._in_order = tuple(sorted(self._capabilities.values(), key=lambda item: item.name))
        return self._in_order

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
