"""Facts of each capability for the command line, from a file that is made of the registry.

To load the registry takes longer than most calls, so `make docs` writes down what commands are made of, and a test
fails when that is stale.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ikoma.kernel.listing import Listing
from ikoma.kernel.page import Column, Fact, ResultPage

FILE = Path(__file__).with_name("commands.json")


@dataclass(frozen=True, slots=True)
class Command:
    """A capability as a command sees it. `properties` and `required` are of its request's JSON schema."""

    description: str
    changes: bool
    """Whether it does more than to look."""
    asks: bool
    """Whether a person may be asked first, since it may lose something for good."""
    takes_away: bool
    """Whether it is there to take something away."""
    properties: Mapping[str, Any]
    required: Sequence[str]
    sensitive: Sequence[str]
    """Arguments that had better not stand in a command line."""
    sentences: tuple[tuple[str, ...], ...]
    """Where in the result IKOMA's own sentences stand."""
    rare: bool
    """Whether few need it."""
    listing: Listing
    page: ResultPage | None
    """Page of its result for a person, where it has no view of its own."""

    @property
    def summary(self) -> str:
        return self.description.split("\n", 1)[0]


@cache
def read_commands() -> Mapping[str, Command]:
    """Every capability by its name."""
    return {name: _make_command(**described) for name, described in json.loads(FILE.read_bytes()).items()}


@cache
def read_verbs() -> Mapping[str, str]:
    """The words of each command that a capability has, and its name."""
    return {command.listing.verb: name for name, command in read_commands().items() if command.listing.verb}


def _make_command(*, sentences: Any, listing: Any, page: Any, **described: Any) -> Command:
    places = tuple(tuple(path) for path in sentences)
    return Command(sentences=places, listing=Listing(**listing), page=_make_page(**page) if page else None, **described)


def _make_page(*, facts: Sequence[Any] = (), columns: Sequence[Any] = (), **described: Any) -> ResultPage:
    return ResultPage(
        facts=[Fact(**fact) for fact in facts], columns=[Column(**column) for column in columns], **described
    )
