"""The target of a path on this machine, link by link."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_MOST_LINKS = 40
_MOST_STEPS = 500


@dataclass(frozen=True, slots=True)
class LocatedPath:
    """The target of a path, and every folder that was looked into on the way: who may write one can change the way."""

    path: Path
    through: tuple[Path, ...]

    @property
    def passed(self) -> set[Path]:
        """The folders of the way, and all above them."""
        found: set[Path] = set()
        for step in self.through:
            while step not in found:
                found.add(step)
                step = step.parent
        return found


def locate(path: str) -> LocatedPath:
    """Follow an absolute path, link by link, as the kernel would; a way without end leads to `/`, which is nobody's."""
    here = Path("/")
    through: list[Path] = []
    steps = list(reversed(Path(path).parts[1:]))
    links = 0
    while steps:
        step = steps.pop()
        if step == "..":
            here = here.parent
            continue
        if len(through) == _MOST_STEPS:
            return LocatedPath(Path("/"), tuple(through))
        through.append(here)
        try:
            target = (here / step).readlink()
        except (OSError, ValueError):  # no link, nothing there yet, or nothing that can be
            here /= step
            continue
        links += 1
        if links > _MOST_LINKS:
            return LocatedPath(Path("/"), tuple(through))
        if target.is_absolute():
            here = Path("/")
        steps.extend(reversed(target.parts[1:] if target.is_absolute() else target.parts))
    return LocatedPath(here, tuple(through))
