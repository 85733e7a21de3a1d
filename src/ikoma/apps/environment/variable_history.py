"""Earlier contents of an app's `.env`, kept for thirty days, so that no value of a variable is lost by a call.

`.ikoma/env/MOMENT.env` is a whole file, 0600, named by the moment when it was first seen: before and after each edit
of IKOMA's own, and at each deploy, which sees what was edited by hand. It held until the moment of the next one. Both
sides of an edit are kept before it is made, so a kill at any line loses neither.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from ikoma.app_folder import App, list_folder
from ikoma.apps.environment import dotenv
from ikoma.apps.environment.entries import parse_entries
from ikoma.apps.files.file_history import KEPT_DAYS
from ikoma.durable import make_folder, write_file
from ikoma.errors import Next, VersionNotFound
from ikoma.moments import format_moment

_MOST, _MOST_BYTES = 500, 64 << 20
"""The most bytes of one app: who writes the same variable without end fills no disk."""
_MOMENT = "%Y%m%d-%H%M%S-%f"


@dataclass(frozen=True, slots=True)
class FormerVariables:
    """A `.env` as it was. `names` are those whose values the next one has not; `until` is when that came."""

    version: str
    until: str
    names: tuple[str, ...]


def keep(app: App, content: bytes) -> Path | None:
    """Keep a content of the `.env`, unless it is the newest that is kept; where it is kept, None where it is empty."""
    known = list_files(app)
    if content == (known[-1].read_bytes() if known else b""):
        return known[-1] if known else None
    folder = app.make_state() / "env"
    make_folder(folder, 0o700)
    moment = datetime.now(UTC)
    if known:  # also where the clock was set back
        moment = max(moment, _parse_moment(known[-1].stem) + timedelta(microseconds=1))
    place = folder / f"{moment:{_MOMENT}}.env"
    write_file(place, content, mode=0o600)
    prune(app)
    return place


def keep_present(app: App) -> None:
    """Keep the `.env` as it is now."""
    keep(app, dotenv.read_bytes(app))


def list_former(app: App, name: str | None = None) -> list[FormerVariables]:
    """List the kept files that have values that came to an end, the newest first.

    Args:
        name: only those in which the value of this variable did.
    """
    now = (f"{datetime.now(UTC):{_MOMENT}}", dotenv.read_bytes(app))
    known = [*_read_contents(app), now]
    found = [
        FormerVariables(version, format_moment(_parse_moment(until)), names)
        for (version, content), (until, following) in pairwise(known)
        if (names := tuple(_find_ended(content, following))) and name in (None, *names)
    ]
    return found[::-1]


def read(app: App, version: str) -> bytes:
    """Read a kept file; VersionNotFound where there is none of that name."""
    for path in list_files(app):
        if path.stem == version:
            return path.read_bytes()
    raise VersionNotFound(
        "No such version of .env is kept.", hint="env.history shows what is kept.", next=[Next("env.history")]
    )


def list_files(app: App) -> list[Path]:
    """List the kept files, the oldest first."""
    return sorted(path for path in list_folder(app.state / "env") if path.suffix == ".env" and _is_moment(path.stem))


def prune(app: App, *, now: datetime | None = None) -> int:
    """Let go of what ended more than thirty days ago, and of the oldest where there is too much; how many went."""
    oldest = (now or datetime.now(UTC)) - timedelta(days=KEPT_DAYS)
    gone = size = 0
    ends: datetime | None = None
    for number, path in enumerate(reversed(list_files(app)), 1):
        size += path.stat().st_size
        if ends is not None and (ends < oldest or number > _MOST or size > _MOST_BYTES):
            path.unlink(missing_ok=True)
            gone += 1
        ends = _parse_moment(path.stem)
    return gone


def _read_contents(app: App) -> Iterator[tuple[str, bytes]]:
    for path in list_files(app):
        with suppress(FileNotFoundError):  # let go of a moment ago
            yield path.stem, path.read_bytes()


def _find_ended(content: bytes, following: bytes) -> Iterator[str]:
    """Find names whose values the following content has not, as the files are written."""
    after = _parse_written(following)
    return (name for name, value in _parse_written(content).items() if after.get(name) != value)


def _parse_written(content: bytes) -> dict[str, str]:
    found = parse_entries(content.decode(errors="replace"))
    return {entry.name: entry.written for entry in found if entry.is_proper and entry.has_value}


def _parse_moment(stem: str) -> datetime:
    return datetime.strptime(stem, _MOMENT).replace(tzinfo=UTC)


def _is_moment(stem: str) -> bool:
    try:
        _parse_moment(stem)
    except ValueError:
        return False
    return True
