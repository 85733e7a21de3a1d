"""The target of a path on this machine, link by link.

Every judgement follows many ways, each of them anew: so the steps are plain text, and paths are made of what is found.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_MOST_LINKS = 40
_MOST_STEPS = 500


@dataclass(frozen=True, slots=True)
class LocatedPath:
    """The target of a path, and every folder that was looked into on the way: who may write one can change the way."""

    path: Path
    through: tuple[str, ...]

    @property
    def passed(self) -> set[Path]:
        """The folders of the way, and all above them."""
        found: set[str] = set()
        for step in self.through:
            while step not in found:
                found.add(step)
                step = _find_parent(step) or "/"
        return set(map(Path, found))


def locate(path: str) -> LocatedPath:
    """Follow an absolute path, link by link, as the kernel would; a way without end leads to `/`, which is nobody's."""
    here = ""  # the root, to which steps are added
    through: list[str] = []
    steps = list(reversed(Path(path).parts[1:]))
    links = 0
    while steps:
        step = steps.pop()
        if step == "..":
            here = _find_parent(here)
            continue
        if len(through) == _MOST_STEPS:
            return LocatedPath(Path("/"), tuple(through))
        through.append(here or "/")
        following = f"{here}/{step}"
        try:
            target = Path(os.readlink(following))  # noqa: PTH115 - without a Path for each step
        except (OSError, ValueError):  # no link, nothing there yet, or nothing that can be
            here = following
            continue
        links += 1
        if links > _MOST_LINKS:
            return LocatedPath(Path("/"), tuple(through))
        if target.is_absolute():
            here = ""
        steps.extend(reversed(target.parts[1:] if target.is_absolute() else target.parts))
    return LocatedPath(Path(here or "/"), tuple(through))


def _find_parent(path: str) -> str:
    """The folder above a path; "" for the root."""
    return path.rpartition("/")[0]
