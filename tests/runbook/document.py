"""A runbook as a list of sections, each with its shell blocks, each a list of commands."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Section:
    """A heading, the headings above it, and the commands of each of its bash blocks."""

    path: tuple[str, ...]
    blocks: tuple[tuple[str, ...], ...]

    @property
    def title(self) -> str:
        return " / ".join(self.path)


def sections(document: Path) -> list[Section]:
    found: list[Section] = []
    path: list[str] = []
    blocks: list[tuple[str, ...]] = []
    block: list[str] | None = None

    def close() -> None:
        if path:
            found.append(Section(tuple(path[1:]), tuple(blocks)))
        blocks.clear()

    for line in document.read_text().splitlines():
        if block is not None:
            if line.startswith("```"):
                blocks.append(tuple(commands("\n".join(block))))
                block = None
            else:
                block.append(line)
        elif line.startswith("```bash"):
            block = []
        elif heading := re.match(r"(#{1,3}) (.+)", line):
            close()
            depth = len(heading[1])
            path[depth - 1 :] = [""] * max(0, depth - 1 - len(path)) + [re.sub(r"^\W+", "", heading[2]).strip()]
    close()
    return found


def commands(block: str) -> list[str]:
    """The commands of a block, each as it stands: with its continued lines, open quotes and here-documents."""
    found: list[str] = []
    current: list[str] = []
    terminator: str | None = None
    for line in block.splitlines():
        if not current and (not line.strip() or line.lstrip().startswith("#")):
            continue
        current.append(line)
        if terminator is not None:
            if line == terminator:
                terminator = None
            else:
                continue
        elif heredoc := re.search(r"<<-?'?(\w+)'?$", line):
            terminator = heredoc[1]
            continue
        elif line.endswith("\\") or "\n".join(current).count("'") % 2:
            continue
        found.append("\n".join(current))
        current = []
    return found
