"""Text and bytes that others wrote, made fit for people: no control characters, and text only where it is text."""

from __future__ import annotations

import re

_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours and cursor movements
    r"|\x1b[\]PX^_].*?(?:\x07|\x1b\\|$)"  # window titles and other strings for a terminal
    r"|\x1b[ -/]*[0-~]?"
    r"|[\x00-\x08\x0a-\x1f\x7f-\x9f]"
)


def make_readable(line: str) -> str:
    """One line without what would steer a terminal."""
    return _CONTROL.sub("", line)


def decode_text(content: bytes, *, is_part: bool) -> str | None:
    """Decode the content as text, None where it is none. A character that the end of a part cuts is left out of it."""
    for cut in range(4 if is_part else 1):
        try:
            return content[: len(content) - cut].decode()
        except UnicodeDecodeError:
            continue
    return None
