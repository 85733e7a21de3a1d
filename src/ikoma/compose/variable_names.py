"""Names of variables, and of the parts of a database that a compose file may ask for."""

from __future__ import annotations

import re
from typing import Self

from ikoma.model import ParsedText

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class VariableName(ParsedText):
    """A name of an environment variable as a person sets it, of at most 200 characters."""

    pattern = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")
    advice = "1 to 200 letters, digits and _, and no digit first"
    example = "SECRET_KEY"

    @classmethod
    def parse(cls, text: str) -> Self:
        if cls.pattern.fullmatch(text):
            return cls(text)
        near = re.sub(r"[-. ]", "_", text.strip().removeprefix("$").strip("{}"))
        meant = f"; did you mean {near!r}?" if cls.pattern.fullmatch(near) else ""
        raise ValueError(f"{cls.advice}{meant}")


TLS_PARTS = {"port": "tls_port", "url": "tls_url"}
"""The text in place of a part, for a service that insists on TLS."""
