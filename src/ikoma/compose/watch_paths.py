"""`x-ikoma: watch_paths`: which of the paths that a push has changed are worth a deploy.

Globs as in a .gitignore file: `*` and `?` stay within one folder, `**` is any number of folders, `src` or `src/` is all
in it, a name without a slash is meant in every folder, and one after `!` takes back. They are looked at from the
repository's root, and from the app's folder in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

from ikoma.errors import InvalidCompose

MOST = 100
_LONGEST = 500


def parse(given: Any) -> tuple[str, ...]:
    """The globs of the block; InvalidCompose where they are of another form."""
    globs = given if isinstance(given, list) else [given]
    for glob in globs:
        if not isinstance(glob, str) or not glob.strip("!/") or len(glob) > _LONGEST or not glob.isprintable():
            raise InvalidCompose(
                f"x-ikoma: watch_paths: {str(glob)[:80]!r} is no glob; it takes a list such as [src/**, Dockerfile]."
            )
    if len(globs) > MOST:
        raise InvalidCompose(f"x-ikoma: watch_paths takes at most {MOST} globs.")
    return tuple(globs)


def select_touched(globs: Sequence[str], changed: Sequence[str], folder: str | None = None) -> list[str]:
    """Select the changed paths that the globs watch.

    Args:
        folder: the app's folder in the repository.
    """
    above = f"{folder}/" if folder else ""
    return [
        path
        for path in changed
        if _is_watched(globs, path) or (above and path.startswith(above) and _is_watched(globs, path[len(above) :]))
    ]


def _is_watched(globs: Sequence[str], path: str) -> bool:
    watched = False
    for glob in globs:
        takes_back = glob.startswith("!")
        if watched is takes_back and _covers(glob.removeprefix("!"), path):
            watched = not takes_back
    return watched


def _covers(glob: str, path: str) -> bool:
    """Whether a glob means a path, or a folder that it is in."""
    steps = tuple(step for step in glob.removeprefix("./").split("/") if step)
    if len(steps) == 1 and not glob.startswith(("/", "./")) and steps[0] != "**":
        steps = ("**", *steps)
    return _fits(steps, tuple(path.split("/")))


@lru_cache(maxsize=10_000)
def _fits(steps: tuple[str, ...], path: tuple[str, ...]) -> bool:
    if not steps:
        return True  # all that is in it
    if steps[0] == "**":
        if len(steps) == 1:
            return bool(path)
        return any(_fits(steps[1:], path[begin:]) for begin in range(len(path)))
    return bool(path) and fnmatchcase(path[0], steps[0]) and _fits(steps[1:], path[1:])
