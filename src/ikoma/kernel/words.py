"""IKOMA's own sentences: they name what can be called as `deploy.up`, and each door says it in its own words.

Only what IKOMA wrote is changed: fields of these names, and in them no name that somebody else gave. What others chose
(a domain `apps.run`, a file `db.query`) stands in quotes, in a path, or in the arguments of the very call.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from ikoma.kernel.redaction.places import Path, change_at

RESULT_FIELDS = frozenset(
    {
        *("advice", "details", "findings", "fix", "hint", "markdown", "message", "more", "note", "plain", "problem"),
        *("reasons", "says", "summary", "trouble", "warnings", "why"),
    }
)
"""Fields of results that hold IKOMA's own sentences, where they hold text."""
_DETAILS = RESULT_FIELDS | {"lost", "kept"}

_SAID_BY_OTHERS = " | "
"""Stands in a step before what a build or a container said."""

Change = Callable[[str], str]
Say = Callable[[str, Mapping[str, Any]], str]
"""Words a call: the capability, and the arguments that the sentence gives it."""


class CapabilityNames:
    """Finds what can be called in a sentence. Arguments may follow it, as JSON: `deploy.plan {"rollback": true}`."""

    def __init__(self, names: Iterable[str]) -> None:
        either = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True)) or "(?!)"
        self._hint = re.compile(either.encode())
        self._named = re.compile(
            rf"(?<![\w./@:'\"-])(?P<open>`?)(?P<name>{either})(?P<given> \{{[^{{}}]*\}})?(?P<close>`?)"
            r"(?![\w/@=]|[.-]\w)"
        )

    def may_stand_in(self, body: bytes) -> bool:
        """Whether it is worth looking for names in encoded JSON."""
        return self._hint.search(body) is not None

    def find(self, text: str, data: Collection[str] = ()) -> list[str]:
        """The capabilities that a sentence names.

        Args:
            data: texts that are not IKOMA's, and may stand in it.
        """
        return [match["name"] for match in self._named.finditer(text) if not _is_data(match, data)]

    def reword(self, text: str, say: Say, data: Collection[str] = (), *, quoted: bool = False) -> str:
        """The sentence with each name in a door's words.

        Args:
            quoted: whether each stands between backticks then.
        """

        def word(match: re.Match[str]) -> str:
            if _is_data(match, data) or bool(match["open"]) != bool(match["close"]):
                return match[0]
            given, rest = _read_arguments(match["given"] or "")
            quote = "`" if quoted else match["open"]
            return f"{quote}{say(match['name'], given)}{quote}{rest}"

        return self._named.sub(word, text)

    def complete(self, text: str, add: Callable[[str], Mapping[str, Any]], data: Collection[str] = ()) -> str:
        """The sentence with each call whole that it gives arguments to.

        Args:
            add: the arguments that a capability needs besides.
        """

        def whole(match: re.Match[str]) -> str:
            given, _ = _read_arguments(match["given"] or "")
            if not given or _is_data(match, data):
                return match[0]
            arguments = json.dumps({**add(match["name"]), **given}, ensure_ascii=False)
            return f"{match['open']}{match['name']} {arguments}{match['close']}"

        return self._named.sub(whole, text)


def reword_result(result: Any, paths: Sequence[Path], change: Change) -> Any:
    """A result with its own sentences changed."""
    for path in paths:
        result = change_at(result, path, lambda part: _reword(part, change))
    return result


def reword_steps(result: Mapping[str, Any], change: Change) -> dict[str, Any]:
    """Operations with the names of their steps changed; what a build or a container said, behind a bar, stays."""
    changed = dict(result)
    if isinstance(result.get("step"), str):
        changed["step"] = reword_step(result["step"], change)
    if isinstance(result.get("steps"), list):
        changed["steps"] = [{**step, "name": reword_step(step["name"], change)} for step in result["steps"]]
    if isinstance(result.get("operations"), list):
        changed["operations"] = [reword_steps(item, change) for item in result["operations"]]
    return changed


def reword_step(name: str, change: Change) -> str:
    return name if _SAID_BY_OTHERS in name else change(name)


def reword_failure(told: Mapping[str, Any], change: Change) -> dict[str, Any]:
    """A failure, as it is told, with its own sentences changed; a sentence that quotes stays as it is."""
    changed = dict(told)
    quotes = "plain" in told and "errors" not in told.get("details", {})
    for name in ("hint", "plain", *(() if quotes else ("error",))):
        if isinstance(told.get(name), str):
            changed[name] = change(told[name])
    if "details" in told:
        changed["details"] = reword_details(told["details"], change)
    return changed


def reword_details(value: Any, change: Change) -> Any:
    """Details of a failure, with the sentences in them changed."""
    if isinstance(value, Mapping):
        return {
            name: _reword(part, change) if name in _DETAILS and _is_sentence(part) else reword_details(part, change)
            for name, part in value.items()
        }
    return [reword_details(part, change) for part in value] if isinstance(value, list | tuple) else value


def _reword(part: Any, change: Change) -> Any:
    if isinstance(part, str):
        return change(part)
    return [_reword(item, change) for item in part] if isinstance(part, list | tuple) else part


def _is_sentence(part: Any) -> bool:
    return isinstance(part, str) or (isinstance(part, list | tuple) and all(isinstance(item, str) for item in part))


def _read_arguments(text: str) -> tuple[dict[str, Any], str]:
    """The arguments that follow a name, and the text where it is none."""
    try:
        return (json.loads(text) if text else {}), ""
    except ValueError:
        return {}, text


def _is_data(match: re.Match[str], data: Collection[str]) -> bool:
    return any(match["name"] in text for text in data)


def collect_texts(arguments: Any) -> list[str]:
    """Every text in the arguments of a call."""
    if isinstance(arguments, str):
        return [arguments]
    if isinstance(arguments, Mapping):
        return [text for value in arguments.values() for text in collect_texts(value)]
    return [text for value in arguments for text in collect_texts(value)] if isinstance(arguments, list | tuple) else []
