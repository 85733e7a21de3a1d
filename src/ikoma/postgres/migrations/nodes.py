"""Readers of the parser's nodes for the rules and the schema. Nodes are known by the names of their classes only.

So pglast is loaded when the first migration is looked at, and not when the server starts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Type:
    """A type as the parser names it: int is int4, character varying is varchar."""

    name: str
    modifiers: tuple[int, ...] = ()
    array: bool = False

    @classmethod
    def of(cls, node: Any) -> Type:
        names = [part.sval for part in node.names]
        modifiers = tuple(getattr(item.val, "ival", -1) for item in node.typmods or () if hasattr(item, "val"))
        return cls(".".join(names[-1:] if names[0] == "pg_catalog" else names), modifiers, bool(node.arrayBounds))

    def widens_to(self, wider: Type) -> bool:
        """Whether every value stays what it is, and nothing is rewritten."""
        if self == wider:
            return True
        if self.array or wider.array:
            return False
        if self.name in ("varchar", "text") and wider.name in ("varchar", "text"):
            return not wider.modifiers or (bool(self.modifiers) and self.modifiers <= wider.modifiers)
        if self.name == wider.name == "numeric":
            return not wider.modifiers or self._widens_as_numeric(wider)
        return False

    def _widens_as_numeric(self, wider: Type) -> bool:
        if not self.modifiers:
            return False
        (precision, scale), (more, same) = ((*item.modifiers, 0)[:2] for item in (self, wider))
        return precision <= more and scale == same


def is_value(expression: Any) -> bool:
    """Whether a default gives anything: there may be none, and NULL is none."""
    while type(expression).__name__ == "TypeCast":
        expression = expression.arg
    return expression is not None and not getattr(expression, "isnull", False)


def walk(node: Any) -> Iterator[Any]:
    """The node and all inside it. Not by recursion: a sum of some thousands nests as deep."""
    waiting = [node]
    while waiting:
        item = waiting.pop()
        if isinstance(item, tuple):
            waiting += reversed(item)
        elif hasattr(type(item), "__slots__") and type(item).__module__.startswith("pglast"):
            yield item
            waiting += [getattr(item, name) for name in reversed(type(item).__slots__)]


def list_columns(node: Any) -> list[str]:
    """Names of the columns that an expression reads."""
    found = [item for item in walk(node) if type(item).__name__ == "ColumnRef"]
    return [item.fields[-1].sval for item in found if hasattr(item.fields[-1], "sval")]


def keeps_value(command: Any) -> bool:
    """Whether the USING of a change of type, where there is one, says no more than the column itself."""
    using = command.def_.raw_default
    while type(using).__name__ == "TypeCast":
        using = using.arg
    return using is None or (type(using).__name__ == "ColumnRef" and list_columns(using) == [command.name])
