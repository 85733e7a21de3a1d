"""Bytes that others wrote, as text where they are text."""

from __future__ import annotations


def decode_text(content: bytes, *, is_part: bool) -> str | None:
    """Decode the content as text, None where it is none. A character that the end of a part cuts is left out of it."""
    for cut in range(4 if is_part else 1):
        try:
            return content[: len(content) - cut].decode()
        except UnicodeDecodeError:
            continue
    return None
