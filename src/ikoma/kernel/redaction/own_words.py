"""IKOMA's own words: a secret that is one of them can be told by nobody, and would take the sense out of its sentences.

What IKOMA can say stands in its own source. It is read where a secret looks like words, and then once.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from pathlib import Path

_PACKAGE = Path(__file__).parents[2]
_LONGEST = 300
_LIKE_WORDS = re.compile(r"[A-Za-z`(][A-Za-z0-9 .,:;'`()/_-]*")
_WORD = re.compile(r"\w+")
_JOINT = re.compile(r"\"\s*\n\s*f?\"")
"""Where one literal goes on in the next line."""


@lru_cache(maxsize=2000)
def is_own(text: str) -> bool:
    """Whether IKOMA says this text itself, as a whole or as words of a sentence."""
    if len(text) > _LONGEST or not _LIKE_WORDS.fullmatch(text):
        return False
    if not _list_words().issuperset(_WORD.findall(text)):  # of most secrets; a search for each would take seconds
        return False
    return re.search(rf"(?<!\w){re.escape(text)}(?!\w)", _read_source()) is not None


@cache
def _list_words() -> frozenset[str]:
    return frozenset(_WORD.findall(_read_source()))


@cache
def _read_source() -> str:
    texts = [path.read_text(encoding="utf-8") for path in sorted(_PACKAGE.rglob("*.py"))]
    return _JOINT.sub("", "\n".join(texts))
