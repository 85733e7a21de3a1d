"""Commands that a runbook names in its text: `docker logs ikoma-postgres` in a list of solutions."""

from __future__ import annotations

import re
from pathlib import Path

PROGRAMS = ("docker", "systemctl", "netstat", "rm", "ikoma", "curl")


def inline_commands(document: Path) -> dict[str, list[str]]:
    """Map each heading that has such commands to these, in their order."""
    found: dict[str, list[str]] = {}
    title, in_block = "", False
    for line in document.read_text().splitlines():
        if line.startswith("```"):
            in_block = not in_block
        elif in_block:
            continue
        elif heading := re.match(r"#{1,3} (.+)", line):
            title = re.sub(r"^\W+", "", heading[1]).strip()
        else:
            named = [text for text in re.findall(r"`([^`]+)`", line) if text.split()[0] in PROGRAMS and " " in text]
            if named:
                found.setdefault(title, []).extend(named)
    return found
