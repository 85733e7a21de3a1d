"""IKOMA's own words: a secret that is one of them can be told by nobody, and would take the sense out of its sentences.

What IKOMA can say stands in its own source. It is read where a secret looks like words. Kept of it are the words alone,
a fraction of the size: the sentences are looked for, and read again, only where a secret is made of nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, lru_cache
from pathlib import Path

_PACKAGE = Path(__file__).parents[2]
_LONGEST = 300
_LIKE_WORDS = re.compile(r"[A-Za-z`(][A-Za-z0-9 .,:;'`()/_-]*")
_JOINT = re.compile(r"\"\s*\n\s*f?\"")
"""Where one literal goes on in the next line."""
_WORD = re.compile(r"\w+")


@lru_cache(maxsize=2000)
def is_own(text: str) -> bool:
    """Whether IKOMA says this text itself, as a whole or as words of a sentence."""
    if len(text) > _LONGEST or not _LIKE_WORDS.fullmatch(text):
        return False
    known = _list_words()
    if any(f"\n{word}\n" not in known for word in _WORD.findall(text)):
        return False
    said = re.compile(rf"(?<!\w){re.escape(text)}(?!\w)")
    return any(said.search(source) for source in _read_source())


@cache
def _list_words() -> str:
    """All words of the source that are plain letters and digits, each between two line feeds."""
    words = {word for source in _read_source() for word in _WORD.findall(source) if word.isascii()}
    return "\n{}\n".format("\n".join(sorted(words)))


def _read_source() -> Iterator[str]:
    for path in sorted(_PACKAGE.rglob("*.py")):
        yield _JOINT.sub("", path.read_text(encoding="utf-8"))
