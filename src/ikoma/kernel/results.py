"""Results: the answers of capabilities, and the marks that say what stands in which of their fields."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from ikoma.errors import Next
from ikoma.kernel.page import ResultPage
from ikoma.kernel.redaction.places import Path
from ikoma.kernel.words import RESULT_FIELDS


class Result(BaseModel):
    """The answer of a capability: camelCase."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, defer_build=True)
    page: ClassVar[ResultPage | None] = None
    """The result as a person sees it."""


def make_optional(empty: Any = None) -> Any:
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


def find_marks(kind: Any, path: Path) -> Iterator[tuple[Path, Untrusted]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        for name, field in kind.model_fields.items():
            here = (*path, field.serialization_alias or field.alias or name)
            marks = [mark for mark in field.metadata if isinstance(mark, Untrusted)]
            if marks:
                yield here, marks[0]
            else:
                yield from find_marks(field.annotation, here)
        return
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) is typing.Annotated:
        marks = [mark for mark in arguments[1:] if isinstance(mark, Untrusted)]
        if marks:
            yield path, marks[0]
            return
    inner = (*path, "*") if typing.get_origin(kind) in (list, tuple) else path
    for argument in arguments:
        yield from find_marks(argument, inner)


def find_leads(kind: Any, path: Path) -> Iterator[Path]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        for name, field in kind.model_fields.items():
            yield from find_leads(field.annotation, (*path, field.serialization_alias or field.alias or name))
    elif kind is Next:
        yield path
    inner = (*path, "*") if typing.get_origin(kind) in (list, tuple) else path
    for argument in typing.get_args(kind):
        yield from find_leads(argument, inner)


def find_sentences(kind: Any, path: Path) -> Iterator[Path]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        for name, field in kind.model_fields.items():
            here = (*path, field.serialization_alias or field.alias or name)
            others = any(isinstance(mark, Untrusted) and not mark.ours for mark in field.metadata)
            if name in RESULT_FIELDS and not others and _is_text(field.annotation):
                yield here
            elif not others:
                yield from find_sentences(field.annotation, here)
    inner = (*path, "*") if typing.get_origin(kind) in (list, tuple, dict) else path
    for argument in typing.get_args(kind):
        yield from find_sentences(argument, inner)


def _is_text(kind: Any) -> bool:
    """Whether a field holds a text, or a list of texts, and nothing else."""
    return kind in (str, None, type(None)) or (
        bool(typing.get_args(kind)) and all(map(_is_text, typing.get_args(kind)))
    )
