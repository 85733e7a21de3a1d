"""Finds the name that was probably meant, among those of capabilities and commands.

A guess is for a slip of the hand alone: a name that merely looks alike (`apps.delete` and `apps.health`) is another
one, and who follows such a guess does something else than was wanted.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection

_ALIKE = 0.75
_WHOLE = 0.9
"""Ratio for names that were written without their dot."""
_OF_APPS = frozenset({"apps", "deploy"})
"""Namespaces of what is done with an app: either is looked for under the other."""
_BREAKS = re.compile(r"[^a-z0-9]+")


def find_nearest(name: str, known: Collection[str]) -> str | None:
    """The capability whose name was misspelt, given without its namespace, or looked for under the other one."""
    first, *rest = [part for part in _BREAKS.split(name.lower()) if part] or [""]
    verb = ".".join(rest)
    if not verb:
        if any(item.startswith(f"{first}.") for item in known):
            return None  # one of many, and nobody knows which
        named = [item for item in known if item.partition(".")[2] == first]
        joined = {item.replace(".", ""): item for item in known}
        near = difflib.get_close_matches(first, joined, n=1, cutoff=_WHOLE)
        return named[0] if len(named) == 1 else joined[near[0]] if near else None
    found = {item: _compute_pair_score(first, verb, item) for item in known}
    best = max(found, key=lambda item: found[item], default="")
    return best if found.get(best) else None


def find_nearest_word(word: str, known: Collection[str]) -> str | None:
    """The one of single words that was misspelt."""
    found = {item: _compute_score(word, item) for item in known}
    best = max(found, key=lambda item: found[item], default="")
    return best if found.get(best) else None


def _compute_pair_score(first: str, verb: str, name: str) -> float:
    """Say how alike a name is to one of two parts; 0 where it is another one."""
    namespace, _, ending = name.partition(".")
    as_namespace = _compute_score(first, namespace)
    if not as_namespace and namespace in _OF_APPS and any(_compute_score(first, other) for other in _OF_APPS):
        as_namespace = _ALIKE
    return as_namespace * _compute_score(verb, ending)


def _compute_score(given: str, meant: str) -> float:
    """Say how alike two words are; 0 where they are two words, and no slip of the hand."""
    if given[:1] != meant[:1]:
        return 0.0
    if sorted(given) == sorted(meant):  # letters that changed places
        return 1.0 if given == meant else _WHOLE
    ratio = difflib.SequenceMatcher(None, given, meant).ratio()
    return ratio if ratio >= _ALIKE else 0.0
