"""The proxy's own log, read for what it says of certificates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_MOST = 512 << 10
_LONGEST = 300


def find_certificate_trouble(log: Path, name: str) -> str | None:
    """The reason why a name got no certificate the last time it was asked for; None where nothing is known."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - _MOST))
            lines = file.read().split(b"\n")
    except OSError:
        return None
    wanted = name.encode()
    for line in reversed(lines):
        if wanted not in line:
            continue
        entry = _read_entry(line)
        if entry.get("identifier") != name and name not in (entry.get("identifiers") or ()):
            continue
        if "successfully" in str(entry.get("msg")):
            return None
        if error := entry.get("error"):
            return str(error)[:_LONGEST]
    return None


def _read_entry(line: bytes) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}
