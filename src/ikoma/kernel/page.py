"""The parts of a page that shows a person a result, said beside the result: a sentence, facts, a table.

Plain data, which the command line lays out. A result that needs a layout of its own has a view in cli/views instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["", "address", "line", "size", "state", "time"]
"""How a value is worded: as it is, the address that people use of several, on one line, as bytes, as a word with a
colour, as a moment."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A value and its name."""

    name: str
    """As a person reads it."""
    field: str = ""
    """The field of the result, where it has another name; `cause|reason` is the first of two that says something."""
    kind: Kind = ""
    also: str = ""
    """A field that stands behind the value in brackets, by its name, where it is true."""
    empty: str = ""
    """Shown where there is no value."""


@dataclass(frozen=True, slots=True)
class Column(Fact):
    """A column of a table."""

    cut: bool = False
    """Whether it may be cut, with a mark, where the terminal is narrow."""
    spare: bool = False
    """Whether it is left out where the terminal is narrow; `--json` has it."""
    right: bool = False
    """Whether it is of numbers."""


@dataclass(frozen=True, slots=True)
class ResultPage:
    """One result, from its first line to its last; what has no value is not shown."""

    says: str = ""
    """A sentence in which `{path}` stands for a field."""
    either: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """A field that is true or not → what the sentence says for it then, and what otherwise."""
    is_plain: bool = False
    """Whether the sentence is no news of something that went well."""
    facts: Sequence[Fact] = ()
    text: str = ""
    """A field that is shown as it is, a list line by line."""
    lists: Mapping[str, str] = field(default_factory=dict)
    """Title → the field that holds texts."""
    rows: str = ""
    """The field that holds the rows of a table."""
    columns: Sequence[Column] = ()
    empty: str = ""
    """Said instead of a table without rows; it may name capabilities."""
    warning: str = ""
    """Said last."""
