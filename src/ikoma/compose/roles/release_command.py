"""The release command of an app: what its x-ikoma block says.

It runs once for each release, on the new release's code: after the backup, before requests are switched. To the
database it is a migration that nobody can judge; where it is said to be breaking, what serves is stopped first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ikoma.errors import InvalidCompose
from ikoma.model import quote_name

_KEYS = ("service", "command", "timeout", "breaking")
_TAKES = "it takes service, command (a list such as [python, manage.py, migrate]), timeout and breaking"
_MOST_WORDS, _LONGEST_WORD = 100, 4000
_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class ReleaseCommand:
    """`timeout` is in seconds."""

    service: str
    command: tuple[str, ...]
    timeout: float = _SECONDS
    breaking: bool = False
    """Whether what serves cannot run with the database as it will be."""


def parse(name: str, given: Any, duration: Callable[[str, Any], float]) -> dict[str, Any]:
    """The block as a release keeps it.

    Raises:
        InvalidCompose: it is not of its form.
    """
    if not isinstance(given, Mapping):
        raise InvalidCompose(f"x-ikoma: {name} is {str(given)[:40]!r}; {_TAKES}.")
    if unknown := sorted(set(map(str, given)) - set(_KEYS)):
        raise InvalidCompose(f"x-ikoma: {name}: {quote_name(unknown[0][:80])} is unknown; {_TAKES}.")
    if not isinstance(service := given.get("service"), str):
        raise InvalidCompose(f"x-ikoma: {name}: service is missing; {_TAKES}.")
    command = given.get("command")
    if not isinstance(command, list) or not command or not all(map(_is_word, command)):
        raise InvalidCompose(f"x-ikoma: {name}: command takes a list such as [python, manage.py, migrate].")
    if not isinstance(breaking := given.get("breaking", False), bool):
        raise InvalidCompose(f"x-ikoma: {name}: breaking takes true or false.")
    words = [str(word).replace("$$", "$") for word in command]  # the model is written so that Compose can read it
    if problem := explain_bad_command(words):
        raise InvalidCompose(f"x-ikoma: {name}: command: {problem}.")
    timeout = _SECONDS if given.get("timeout") is None else duration(f"{name}: timeout", given["timeout"])
    return {"service": service, "command": words, "timeout": timeout, "breaking": breaking}


def _is_word(given: Any) -> bool:
    return isinstance(given, str | int) and not isinstance(given, bool)  # what YAML makes of `true` is no program


def explain_bad_command(words: Collection[str]) -> str | None:
    """The reason why no process can be started so; None where one can."""
    if len(words) > _MOST_WORDS or any(len(word) > _LONGEST_WORD for word in words):
        return f"it takes at most {_MOST_WORDS} items of {_LONGEST_WORD} characters"
    if not next(iter(words), ""):
        return "the program's name is empty"
    return "an item holds a NUL character" if any(re.search("\0", word) for word in words) else None


def list_needed(service: str, needs: Mapping[str, Collection[str]]) -> set[str]:
    """All services that one waits for, and those that these wait for."""
    found: set[str] = set()
    waiting = [service]
    while waiting:
        for name in needs.get(waiting.pop(), ()):
            if name not in found and name != service:
                found.add(name)
                waiting.append(name)
    return found
