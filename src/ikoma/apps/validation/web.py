"""Findings of the x-ikoma block."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ikoma.apps import compose_file, extension
from ikoma.apps.compose_lines import Source
from ikoma.apps.validation.finding import Finding
from ikoma.errors import InvalidCompose

_WRONG_KEY = re.compile(r"x-ikoma: ([^\s:]+)")


def find_web(source: Source, model: Mapping[str, Any]) -> Iterator[Finding]:
    try:
        compose_file.web(model)
        extension.check(model)
    except InvalidCompose as error:
        key = _WRONG_KEY.match(error.message)
        at = source.at("x-ikoma", key[1]) if key else source.at("x-ikoma")
        takes = f"The block takes {', '.join(extension.KEYS)}."
        fix = "Correct the key's name, or remove it." if "is unknown; it takes" in error.message else takes
        yield Finding(*at, error.message, fix)
