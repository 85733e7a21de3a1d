"""Takes known secrets out of text before anyone sees it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from ikoma.model import Secret

_SHORTEST = 4


def scrub(text: str, secrets: Iterable[Secret]) -> str:
    """The text with each secret's value replaced by ***. Values under four characters would hide nothing but sense.

    Logs come line by line and often quoted, so each line of a value is a secret too, and each in its quoted form.
    """
    values = {part for secret in secrets for part in _forms(secret.reveal())}
    for value in sorted(values, key=len, reverse=True):  # a secret may hold another one
        if len(value.strip()) >= _SHORTEST:
            text = text.replace(value, "***")
    return text


def _forms(value: str) -> Iterator[str]:
    for part in (value, *value.splitlines()):
        yield part
        yield json.dumps(part, ensure_ascii=False)[1:-1]
