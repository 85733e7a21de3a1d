"""The place of a capability before people, said in its own file: its task, its command, and what its answer means.

The command line reads it from an index that `make docs` writes, so nothing heavy is imported here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

if TYPE_CHECKING:
    from ikoma.kernel.sentences import Says

Task = Literal[
    "start",
    "deploy",
    "look",
    "database",
    "files",
    "variables",
    "domains",
    "releases",
    "git",
    "previews",
    "keys",
    "audit",
    "operations",
    "server",
]
"""Tasks of people: the sections of `ikoma --help` and of the reference. web/tasks.py has a sentence for each."""

Run = TypeVar("Run", bound=Callable[[Any, Any], Awaitable[Any]])


@dataclass(frozen=True, slots=True)
class Listing:
    """The listing of a capability, command by command and tool by tool."""

    task: Task | None = None
    verb: str = ""
    """The words of its command after `ikoma`; several where it stands in a group: `keys create`."""
    summary: str = ""
    """One line for `ikoma --help`."""
    no_verb: str = ""
    """Why it has no command of its own, and is reached by `ikoma call` alone."""
    optional: Sequence[str] = ()
    """Arguments that may be left out, and need no name where they are given."""
    from_files: Mapping[str, str] = field(default_factory=dict)
    """Argument → the option that takes it from a file."""
    unseen: Mapping[str, str] = field(default_factory=dict)
    """Secret → the argument that stands for it; where neither is given, the secret is asked for."""
    by_hand: bool = False
    """Whether a module of cli/commands has the command; others are made of the request."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Argument → its option, where a command by hand calls it otherwise: an app is not what it works on then."""
    typed_again: str = ""
    """The argument whose value a person types again before something is lost: a yes is said too quickly."""
    says_more: bool = False
    """Whether its own view on a terminal says how more is shown."""
    well: Sequence[Any] = ()
    """A field of the result, and its value where the answer is yes; a command ends with exit code 1 otherwise."""
    says: Says | None = None
    """Says in one sentence what an answer comes to: its first line over MCP. None where there is a `message`, or where
    the fields say it as shortly."""
    text_alone: bool = False
    """Whether the answer over MCP is a text without fields: hosts show a model the one or the other, and it must be
    readable in all of them."""
    not_in_text: Sequence[str] = ()
    """Fields that have no line in the text of an answer over MCP: its first has them, or only programs want them."""
    not_over_mcp: Sequence[str] = ()
    """Arguments that are of no use over MCP."""
    no_tool: bool = False
    """Whether MCP lists it in no toolset: it is a person's, and what is not listed can be called all the same."""


def listed(task: Task, verb: str = "", summary: str = "", **more: Any) -> Callable[[Run], Run]:
    """Say how a capability is listed; stands below `@capability`, which takes it from there.

    Args:
        task: what a person is about who calls it.
        verb: the words of its command.
        summary: one line for `ikoma --help`.
        more: the other fields of `Listing`.
    """

    def say(run: Run) -> Run:
        vars(run)["listing"] = Listing(task, verb, summary, **more)
        return run

    return say


def read_listing(run: Callable[[Any, Any], Awaitable[Any]]) -> Listing:
    """The listing that `@listed` gave it."""
    found: Listing = vars(run).get("listing", Listing())
    return found
