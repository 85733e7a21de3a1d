"""One unbroken run of the write-ahead log on disk, with the base backups that it leads on from.

    BACKUPS_ROOT/point-in-time/CHAIN/chain.json        which server it is of
                                    /wal/SEGMENT       as pg_receivewal writes them
                                    /base/NAME/data    as pg_basebackup writes it, proven by pg_verifybackup;
                                                       incremental where base.json names its parent
                                              /base.json

A chain ends where its log cannot go on: another server or timeline, or a slot that was given up because nobody read.
Then a new one begins with a base backup of its own, so that no chain has a hole that it does not know of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson

from ikoma.durable import make_folder, remove_tree, sync_folder, write_file
from ikoma.errors import ArchiveBroken
from ikoma.moments import format_moment, parse_moment
from ikoma.postgres.archive.segments import SEGMENT, UNFINISHED, locate, name_segment, read_number

PASSING = "."
"""Names of what is being made or removed begin so."""
MOST_LINKS = 7
"""A full base backup and the incremental ones after it: so many are combined at most."""


@dataclass(frozen=True, slots=True)
class ServerIdentity:
    """The server whose log it is. `segment` is the size of a segment in bytes."""

    system: str
    timeline: int
    segment: int
    major: int


@dataclass(frozen=True, slots=True)
class BaseBackup:
    """A copy of the whole server. Moments are RFC 3339 by the server's clock; positions as PostgreSQL writes them.

    A transaction was committed at `began` or later, and before `start`.
    """

    name: str
    began: str
    finished: str
    start: str
    end: str
    size: int
    parent: str | None = None
    """The base backup whose unchanged pages it does not hold; None where it is full."""


class Chain:
    """A chain under its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.wal = folder / "wal"
        self.bases = folder / "base"
        try:
            self.identity = ServerIdentity(**orjson.loads((folder / "chain.json").read_bytes()))
        except (OSError, ValueError, TypeError) as error:
            raise ArchiveBroken(f"{folder / 'chain.json'} cannot be read.") from error

    @classmethod
    def begin(cls, root: Path, identity: ServerIdentity) -> Chain:
        """Begin a chain, whole or not at all."""
        name = format_moment(datetime.now(UTC), "microseconds").replace(":", "")
        making = root / f"{PASSING}{name}"
        make_folder(making, 0o700)
        for folder in ("wal", "base"):
            make_folder(making / folder, 0o700)
        write_file(making / "chain.json", orjson.dumps(asdict(identity)), mode=0o600)
        making.rename(root / name)
        sync_folder(root)
        return cls(root / name)

    def list_bases(self) -> list[BaseBackup]:
        """The base backups, oldest first; one whose record cannot be read is none."""
        found = []
        for folder in sorted(self.bases.iterdir()):
            if not folder.name.startswith(PASSING):
                try:
                    found.append(BaseBackup(**orjson.loads((folder / "base.json").read_bytes())))
                except (OSError, ValueError, TypeError):
                    continue
        return found

    def list_segments(self) -> dict[str, bool]:
        """Names of segments → whether each is complete; the one that is still written is not."""
        found: dict[str, bool] = {}
        for path in self.wal.iterdir():
            name = path.name.removesuffix(UNFINISHED)
            if SEGMENT.fullmatch(name):
                complete = path.name == name and path.stat().st_size == self.identity.segment
                found[name] = found.get(name, False) or complete
        return found

    def locate_start(self, base: BaseBackup) -> int:
        """The number of the first segment that recovery from a base backup needs."""
        return locate(base.start, self.identity.segment)

    def list_links(self, base: BaseBackup, bases: Sequence[BaseBackup]) -> list[BaseBackup]:
        """The full base backup and the incremental ones after it, to this one: recovery needs all of them.

        Args:
            bases: all that are there.

        Raises:
            ArchiveBroken: one of them is missing.
        """
        known = {other.name: other for other in bases}
        links = [base]
        while (parent := links[-1].parent) is not None:
            # Each is younger than what it builds on: a record that says otherwise leads nowhere.
            if parent not in known or parent >= links[-1].name:
                raise ArchiveBroken(f"The base backup {links[-1].name} builds on {parent}, which is missing.")
            links.append(known[parent])
        for link in links:
            if not (self.bases / link.name / "data" / "backup_manifest").is_file():
                raise ArchiveBroken(f"The base backup {link.name} is not whole: it has no backup_manifest.")
        return links[::-1]

    def is_linked(self, base: BaseBackup, bases: Sequence[BaseBackup]) -> bool:
        """Whether all is there that the base backup builds on."""
        try:
            self.list_links(base, bases)
        except ArchiveBroken:
            return False
        return True

    def find_parent(self) -> BaseBackup | None:
        """The base backup on which an incremental one can build; None where the next one is to be full."""
        bases = self.list_bases()
        if not bases or not self.is_linked(bases[-1], bases) or len(self.list_links(bases[-1], bases)) >= MOST_LINKS:
            return None
        return bases[-1]

    def reaches_on(self, base: BaseBackup, there: Sequence[str]) -> bool:
        """Whether each segment from the base backup on is there, to the last one that is."""
        size, first = self.identity.segment, self.locate_start(base)
        last = max((read_number(name, size) for name in there), default=first - 1)
        return last >= first and all(
            name_segment(self.identity.timeline, number, size) in there for number in range(first, last + 1)
        )

    def read_last_write(self) -> datetime | None:
        """The time at which the archive was last written to."""
        times = [path.stat().st_mtime for path in self.wal.iterdir() if SEGMENT.match(path.name)]
        return datetime.fromtimestamp(max(times), UTC) if times else None

    def drop_unusable(self) -> None:
        """Remove what a killed pg_receivewal could not go on with: the server still has all of that segment."""
        for path in self.wal.glob(f"*{UNFINISHED}"):
            if path.stat().st_size not in (0, self.identity.segment):
                path.unlink()

    def prune(self, days: int, *, is_last: bool) -> None:
        """Remove base backups and segments that no moment of the last days needs.

        Args:
            is_last: whether this is the chain that goes on; else its base backups may all go.
        """
        earliest = datetime.now(UTC) - timedelta(days=days)
        bases = self.list_bases()
        written = self.read_last_write()
        if not is_last and (written is None or written < earliest):
            remove_aside(self.folder)
            return
        outside = [base for base in bases if parse_moment(base.finished) <= earliest]
        kept = [base for base in outside if self.is_linked(base, bases)][-1:] + bases[len(outside) :]
        needed = {base.name for base in kept}
        for base in kept:
            if self.is_linked(base, bases):
                needed.update(link.name for link in self.list_links(base, bases))
        # The newest first: what a kill leaves has all that it builds on.
        for base in reversed(outside):
            if base.name not in needed:
                remove_aside(self.bases / base.name)
        if kept:
            size, first = self.identity.segment, self.locate_start(kept[0])
            for path in self.wal.iterdir():
                if SEGMENT.match(path.name) and read_number(path.name[:24], size) < first:
                    path.unlink()


def list_chains(root: Path) -> list[Chain]:
    """All chains, oldest first."""
    if not root.is_dir():
        return []
    return [Chain(path) for path in sorted(root.iterdir()) if path.is_dir() and not path.name.startswith(PASSING)]


def sweep(root: Path) -> None:
    """Remove what a kill has left half made or half removed."""
    folders = [root, *(chain.bases for chain in list_chains(root))]
    for path in [path for folder in folders for path in folder.iterdir()]:
        if path.name.startswith(PASSING) and path.is_dir():
            remove_tree(path)


def remove_aside(folder: Path) -> None:
    """Remove a folder so that nobody ever takes the half of it for the whole."""
    aside = folder.with_name(f"{PASSING}{folder.name}")
    folder.rename(aside)
    remove_tree(aside)
