"""The server's way to the place off this machine, by a child process, and what it knows to be there.

What is known is a file, so that to list backups asks no network: it is as the last look at the place, or the last
transfer, found it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from ikoma.apps.offsite.copy import OffsiteCopy
from ikoma.durable import make_folder, write_file
from ikoma.errors import IkomaError, OffsiteOff, OffsiteUnreachable, rebuild_failure
from ikoma.moments import format_moment
from ikoma.offsite_place import OffsitePlace
from ikoma.ports.progress import Progress, ignore_progress
from ikoma.run import follow

_WORKER = "ikoma.apps.offsite.worker"
_LOOK_SECONDS, _TRANSFER_SECONDS = 600.0, 7 * 86_400.0


@dataclass(frozen=True, slots=True)
class KnownCopies:
    """The place as far as it is known. Moments are RFC 3339 in UTC."""

    place: str
    copies: tuple[OffsiteCopy, ...] = ()
    """Without their parts."""
    looked_at: str | None = None
    """The time of the last look that succeeded."""
    failing_since: str | None = None
    problem: str | None = None
    """The failure, in a sentence."""
    left_out: int = 0
    """Records there that are another server's, or damaged."""

    def find(self, owner: str, name: str) -> OffsiteCopy | None:
        return next((copy for copy in self.copies if (copy.owner, copy.name) == (owner, name)), None)

    def list_of(self, owner: str) -> list[OffsiteCopy]:
        return [copy for copy in self.copies if copy.owner == owner]


class Offsite:
    """Copies off this machine."""

    def __init__(self, place: OffsitePlace | None, folder: Path, key_file: Path) -> None:
        """
        Args:
            folder: where journals are kept, and what is known.
            key_file: of the key by which this server signs its backups.
        """
        self.place = place
        self._folder = folder
        self._key_file = key_file

    @property
    def is_on(self) -> bool:
        return self.place is not None

    @property
    def can_open(self) -> bool:
        """Whether this server was given a key that opens its own copies."""
        return self.place is not None and self.place.identity_file is not None

    async def send(
        self,
        owner: str,
        name: str,
        created_at: str,
        files: Mapping[str, Path],
        *,
        proven_at: str | None = None,
        scheduled: bool = False,
        progress: Progress = ignore_progress,
    ) -> OffsiteCopy:
        """Send a backup, or what is missing of it, and verify what has arrived.

        Args:
            owner: the app, or `ikoma` for the server itself.
            files: by their names in the copy.
            scheduled: whether it is let go of when it was kept long enough.

        Raises:
            OffsiteOff, OffsiteUnreachable, OffsiteRefused, OffsiteDamaged: the next attempt goes on where this ended.
        """
        told = {
            "owner": owner,
            "name": name,
            "createdAt": created_at,
            "provenAt": proven_at,
            "scheduled": scheduled,
            "files": {inside: str(path) for inside, path in files.items()},
        }
        copy = _parse(await self._do("send", told, progress, _TRANSFER_SECONDS))
        others = (item for item in self.read_known().copies if (item.owner, item.name) != (owner, name))
        self._note(copies=(copy, *others), failing_since=None, problem=None)
        return copy

    async def look(self) -> KnownCopies:
        """Look at what is there; raises what the place fails of, and remembers it."""
        try:
            told = await self._do("list", {}, ignore_progress, _LOOK_SECONDS)
        except IkomaError as error:
            self.note_failure(error)
            raise
        copies = tuple(_parse(item) for item in told["copies"])
        return self._note(
            copies=copies, looked_at=_format_now(), failing_since=None, problem=None, left_out=int(told["leftOut"])
        )

    async def fetch(self, owner: str, name: str, target: Path, progress: Progress = ignore_progress) -> OffsiteCopy:
        """Write the files of a copy below an empty folder, each compared with what was sent.

        Raises:
            OffsiteOff, OffsiteUnreachable, OffsiteRefused: the place.
            OffsiteMissing, OffsiteDamaged: the copy.
            OffsiteSealed: this server has no key that opens it.
        """
        told = {"owner": owner, "name": name, "target": str(target)}
        return _parse(await self._do("fetch", told, progress, _TRANSFER_SECONDS))

    async def delete(self, owner: str, name: str) -> None:
        """Delete a copy; nothing happens where there is none."""
        await self._do("delete", {"owner": owner, "name": name}, ignore_progress, _LOOK_SECONDS)
        left = (item for item in self.read_known().copies if (item.owner, item.name) != (owner, name))
        self._note(copies=tuple(left))

    def read_known(self) -> KnownCopies:
        """The place as it was last seen; nothing where another one is set by now."""
        if self.place is None:
            return KnownCopies("")
        try:
            told = orjson.loads(self._known_file.read_bytes())
            known = KnownCopies(**{**told, "copies": tuple(_parse(item) for item in told["copies"])})
        except (OSError, ValueError, TypeError, KeyError):
            return KnownCopies(str(self.place))
        return known if known.place == str(self.place) else KnownCopies(str(self.place))

    def note_failure(self, error: IkomaError) -> None:
        """Remember that the place failed, and since when."""
        self._note(failing_since=self.read_known().failing_since or _format_now(), problem=error.message)

    @property
    def _known_file(self) -> Path:
        return self._folder / "known.json"

    def _note(self, **changes: Any) -> KnownCopies:
        known = replace(self.read_known(), **changes)
        make_folder(self._folder, 0o700)
        write_file(self._known_file, orjson.dumps(asdict(known)), mode=0o600)
        return known

    async def _do(self, deed: str, told: Mapping[str, Any], progress: Progress, seconds: float) -> dict[str, Any]:
        if self.place is None:
            raise OffsiteOff
        make_folder(self._folder, 0o700)
        common = {
            "do": deed,
            "place": self.place.write_plain(),
            "key": str(self._key_file),
            "folder": str(self._folder),
        }
        answer = _Answer(progress)
        asked = _hand_over(orjson.dumps({**common, **told}))
        try:
            code = await follow([sys.executable, "-m", _WORKER], on_line=answer.hear, stdin=asked, timeout=seconds)
        except TimeoutError:
            raise OffsiteUnreachable(f"{self.place} did not answer within {seconds:.0f} s.") from None
        finally:
            os.close(asked)
        return answer.give(code)


class _Answer:
    """The words of the child, line by line."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._result: dict[str, Any] | None = None
        self._failure: IkomaError | None = None
        self._other: list[str] = []

    def hear(self, line: str) -> None:
        try:
            told = orjson.loads(line)
        except ValueError:
            self._other = [*self._other[-20:], line]
            return
        match told:
            case {"progress": str(step), "fraction": fraction}:
                self._progress(step, fraction)
            case {"result": dict(result)}:
                self._result = result
            case {"error": {"code": code, "message": message, "hint": hint}}:
                self._failure = rebuild_failure(code=code, error=message, hint=hint, details={})

    def give(self, code: int) -> dict[str, Any]:
        if self._failure is not None:
            raise self._failure
        if self._result is None:
            cause = self._other[-1] if self._other else f"exit code {code}"
            raise OffsiteUnreachable(f"The transfer was ended before it was done ({cause[:200]}).")
        return self._result


def _hand_over(content: bytes) -> int:
    """A descriptor from which a child reads this, and which is on no disk."""
    descriptor = os.memfd_create("ikoma-offsite", os.MFD_CLOEXEC)
    view: memoryview | bytes = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _parse(told: Mapping[str, Any]) -> OffsiteCopy:
    return OffsiteCopy(**{**told, "parts": ()})


def _format_now() -> str:
    return format_moment(datetime.now(UTC))
