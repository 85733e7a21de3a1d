"""Answers that fit who reads them: they lead to nothing, and name nothing, that this caller cannot call.

A clause that names such a call says who can do that instead.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from ikoma.errors import IkomaError
from ikoma.kernel.access.caller import Caller
from ikoma.kernel.answers.leading import APP, Leading, Lists, list_all, may_call
from ikoma.kernel.answers.server_paths import ServerPaths
from ikoma.kernel.registry import Capability, Registry
from ikoma.kernel.words import CapabilityNames, collect_texts, reword_details, reword_result
from ikoma.model import Effect, Role

_CLAUSES = re.compile(r"((?<=[.;])\s+|\n+)")
_PARENTHESIS = re.compile(r"\s*\([^()]*\)")
_BEGINS = re.compile(r"[^.:;,(]+")
_NO_VERBS = frozenset({"a", "all", "calls", "the", "version", "what", "where", "whether"})
"""First words of summaries that say what is seen."""


@dataclass(frozen=True, slots=True)
class Reader:
    """The reader of an answer, and what of its own may stand in the sentences."""

    caller: Caller
    role: Role
    given: Mapping[str, Any] = field(default_factory=dict)
    """The arguments of its call."""
    sees_paths: bool = True
    """Whether it can use paths on the server."""
    lists: Lists = list_all
    """Which capabilities its client offers."""

    @property
    def data(self) -> list[str]:
        return collect_texts(self.given)


class Telling:
    """Fits results, failures and sentences to readers."""

    def __init__(self, registry: Registry, paths: ServerPaths | None = None) -> None:
        self._registry = registry
        self._paths = paths or ServerPaths()
        self._names = CapabilityNames(registry.list_names())
        self.leading = Leading(registry)

    def tell_result(self, capability: Capability, body: bytes, reader: Reader) -> bytes:
        """An encoded result."""
        names_any = capability.sentences and self._names.may_stand_in(body)
        shows_paths = not reader.sees_paths and self._paths.may_stand_in(body)
        if not (capability.leads or names_any or shows_paths):
            return body
        caller, role, lists = reader.caller, reader.role, reader.lists
        result = self.leading.complete_result(capability, orjson.loads(body), reader.given, caller, role, lists)
        if names_any:
            result = reword_result(
                result,
                capability.sentences,
                lambda text: self.fit_text(self.complete_text(text, reader.given), reader),
            )
        if shows_paths:
            foreign = {path for path, mark in capability.untrusted if not mark.ours}
            result = self._paths.cut_result(result, foreign)
        return orjson.dumps(result)

    def tell_failure(self, error: IkomaError, reader: Reader) -> IkomaError:
        """An error. Another may be told of the same one, and be allowed other calls: it is a copy."""
        told = copy.copy(error)
        told.lead = self.leading.choose(error.next, reader.caller, reader.role, reader.given, reader.lists)
        if not error.quotes:
            told.message = self.fit_text(error.message, reader)
        told.audit_message = self.fit_text(error.audit_message, reader)
        told.hint = self.fit_text(error.hint, reader)
        told.details = reword_details(error.details, lambda text: self.fit_text(text, reader))
        if not reader.sees_paths:
            told.details = self._paths.cut_details(told.details)
        return told

    def fit_text(self, text: str, reader: Reader) -> str:
        """The text without what its reader cannot use: a clause that names what it cannot call says who can."""
        if not reader.sees_paths:
            text = self._paths.cut(text)
        if not self._find_unreachable(text, reader):
            return text
        text = _PARENTHESIS.sub(lambda part: "" if self._find_unreachable(part[0], reader) else part[0], text)
        fitted: list[str] = []
        clauses = _CLAUSES.split(text)
        for clause, gap in zip(clauses[::2], ["", *clauses[1::2]], strict=True):
            if beyond := self._find_unreachable(clause, reader):
                begins = not fitted or fitted[-1].endswith(".") or "\n" in gap
                clause = self._tell_who_can(beyond[0], reader, begins=begins) + (
                    clause[-1] if clause[-1] in ".;" else ""
                )
                if clause in fitted:
                    continue
            fitted += [gap, clause]
        return "".join(fitted).strip(" ")

    def complete_text(self, text: str, given: Mapping[str, Any]) -> str:
        """The text of the answer to a call with these arguments: each call that it gives arguments to names its app."""

        def add_app(name: str) -> Mapping[str, Any]:
            return {APP: app} if APP in self._registry.get(name).arguments else {}

        app = given.get(APP)
        return text if app is None or "{" not in text else self._names.complete(text, add_app, collect_texts(given))

    def _find_unreachable(self, text: str, reader: Reader) -> list[Capability]:
        """Capabilities that a text names and its reader cannot call."""
        named = (self._registry.get(name) for name in self._names.find(text, reader.data))
        return [item for item in named if not may_call(item, reader.caller, reader.role)]

    def _tell_who_can(self, capability: Capability, reader: Reader, *, begins: bool) -> str:
        if reader.role < capability.role:
            who = f"{'an' if str(capability.role)[0] in 'aeiou' else 'a'} {capability.role} key"
        elif reader.caller.read_only and capability.effect is not Effect.READS:
            who = "a key that may change things"
        else:
            who = "a key of a wider scope"
        said = f"{who} can {self._describe_deed(capability)}"
        return said[0].upper() + said[1:] if begins else said

    def _describe_deed(self, capability: Capability) -> str:
        found = _BEGINS.match(capability.summary)
        deed = found[0].strip() if found else ""
        if not deed or self._names.find(deed):
            return "do that"
        deed = deed[0].lower() + deed[1:]
        if deed.split()[0] not in _NO_VERBS:
            return deed
        return f"see {deed}" if capability.effect is Effect.READS else "do that"
