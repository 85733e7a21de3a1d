"""Words of programs, made fit for people: no frames of logs around them, and whole sentences."""

from __future__ import annotations

import json
import re

_LOG_LINE = re.compile(r'time="[^"]*" level=(?P<level>\w+) msg=(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>\S*))')


def parse_log_line(line: str) -> tuple[str, str] | None:
    """Level and message of a line in the form of Compose's own log, None for any other line."""
    found = _LOG_LINE.match(line)
    if found is None:
        return None
    quoted = found["quoted"]
    return found["level"], found["bare"] if quoted is None else _unquote(quoted)


_RUNTIME = re.compile(r"^failed to create (?:shim )?task\b.*unable to start container process: (.*?)(?:: unknown)?\.?$")


def make_sentence(text: str | None) -> str:
    """The text on one line, with a full stop, and without the engine's own way to it."""
    text = _RUNTIME.sub(r"\1", " ".join((text or "it gave no reason").split()))
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _unquote(text: str) -> str:
    try:
        return str(json.loads(f'"{text}"'))
    except json.JSONDecodeError:  # Go quotes some characters in its own way
        return text.replace('\\"', '"')
