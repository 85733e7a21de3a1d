"""Takes known secrets out of text before anyone sees it."""

from __future__ import annotations

from collections.abc import Iterable

from ikoma.model import Secret

_SHORTEST = 4


def scrub(text: str, secrets: Iterable[Secret]) -> str:
    """The text with each secret's value replaced by ***. Values under four characters would hide nothing but sense."""
    values = {secret.reveal() for secret in secrets}
    for value in sorted(values, key=len, reverse=True):  # a secret may hold another one
        if len(value) >= _SHORTEST:
            text = text.replace(value, "***")
    return text
