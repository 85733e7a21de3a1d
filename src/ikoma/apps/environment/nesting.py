"""The depth of variables in the defaults of others, such as ${A:-${B:-c}}: Compose reads each level anew."""

from __future__ import annotations

import re

DEEPEST = 20
FIX = f"Write at most {DEEPEST} variables into each other, as the default of a default."

_SIGN = re.compile(r"\$\$|\$\{|\}")


def is_too_deep(text: str) -> bool:
    """Whether more than DEEPEST variables stand in each other."""
    depth = 0
    for found in _SIGN.finditer(text):
        if found[0] == "${":
            depth += 1
        elif found[0] == "}":
            depth = max(0, depth - 1)
        if depth > DEEPEST:
            return True
    return False
