"""The upgrade of a whole cluster: a rehearsal while it serves, then the upgrade while it is stopped, then the switch.

The data of before is never written to. Up to the switch nothing has changed: what a killed upgrade leaves is a work
folder, which the next one removes. The switch is written down first (`server/majors.py`), so it is ended by the next
start. After it the former data lies beside, until a person removes it or goes back to it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from ikoma.durable import remove_tree, sync_filesystem
from ikoma.errors import MajorUpgradeFailed
from ikoma.postgres.major.conversion import Conversion, Say, make_work_folder
from ikoma.postgres.major.programs import SECONDS, Programs
from ikoma.postgres.server import postmaster
from ikoma.postgres.server.majors import OLDEST, WORK, Switch, finish_switch, read_major, read_use
from ikoma.postgres.server.server import ADMIN_OPTIONS
from ikoma.run import run

_SPARE = 512 << 20
"""Bytes for the new version's own catalogs, and what is written while it is made."""


@dataclass(frozen=True, slots=True)
class ClusterPlaces:
    """The places where a cluster lies, and is to lie. All of `root` and `target` is on one filesystem."""

    root: Path
    """Holds the work folder, the journal and the lock."""
    source: Path
    target: Path
    """Equals `source` where the new version's data takes its place."""
    include: str = ""
    """A file that postgresql.conf is to include, written anew at each start."""

    @property
    def work(self) -> Path:
        return self.root / WORK

    def find_aside(self) -> Path:
        """A free name for what is at the target now."""
        major = read_major(self.target) if self.target.exists() else None
        first = self.target.with_name(f"{self.target.name}-{major or 'former'}")
        names = (first, *(first.with_name(f"{first.name}-{number}") for number in range(2, 1000)))
        return next(name for name in names if not name.exists())


@dataclass(frozen=True, slots=True)
class Upgraded:
    former: int
    major: int
    tables: int
    rows: int
    kept: Path
    """Where the data of before is."""
    seconds: float


class MajorUpgrade:
    """One upgrade, from the version that the data folder is of to that of `programs.new`.

    Args:
        admin: the platform's own role.
        major: the version that it leads to.
    """

    def __init__(self, places: ClusterPlaces, programs: Programs, *, admin: str, major: int, say: Say) -> None:
        self._places = places
        self._programs = programs
        self._admin = admin
        self._major = major
        self._say = say

    def check(self) -> list[str]:
        """Obstacles, as far as they show from the files."""
        former = read_major(self._places.source)
        if former is None:
            return [f"There is no data folder {self._places.source}."]
        found = []
        if former >= self._major:
            found.append(f"The databases are of PostgreSQL {former} already.")
        if former < OLDEST:
            found.append(f"The databases are of PostgreSQL {former}; this way begins at {OLDEST}.")
        if links := [str(path) for path in _find_links(self._places.source)]:
            found.append(
                f"Data lies elsewhere, by way of links: {', '.join(links)}. Such a cluster is upgraded by hand."
            )
        needed, free = measure(self._places.source) + _SPARE, shutil.disk_usage(self._places.root).free
        if free < needed:
            found.append(f"{self._places.root} has {free >> 20} MB free; {needed >> 20} MB are needed for the copy.")
        return found

    async def rehearse(self, live: Mapping[str, str]) -> Upgraded:
        """The whole upgrade, but for the switch, on a base backup of the server that runs; nothing of it is kept.

        Args:
            live: PGHOST and its siblings, by which pg_basebackup comes to the server.
        """
        began = time.monotonic()
        self._prepare()
        copy = self._places.work / "copy"
        self._say("copying the data of the server that runs")
        program = str(self._programs.new / "bin" / "pg_basebackup")
        await self._programs.do([program, "-D", str(copy), "--checkpoint=fast", "--no-sync", "-X", "stream"], live)
        conversion = await self._convert(copy)
        remove_tree(self._places.work)
        return self._describe(conversion, began, self._places.source)

    async def upgrade(self) -> Upgraded:
        """The upgrade of a cluster whose server is stopped. Up to its last step nothing has changed."""
        began = time.monotonic()
        self._prepare()
        if (self._places.source / "postmaster.pid").exists():
            raise MajorUpgradeFailed("The server has not been stopped cleanly, or runs.", hint="Start it, and stop it.")
        copy = self._places.work / "copy"
        self._say("copying the data")
        await _copy(self._places.source, copy)
        conversion = await self._convert(copy)
        self._take_settings_along(conversion.new)
        switch = Switch(
            former=read_major(self._places.source) or 0,
            major=self._major,
            new=str(conversion.new),
            target=str(self._places.target),
            aside=str(self._places.find_aside()),
            unused=read_use(conversion.new),
        )
        sync_filesystem(self._places.work)
        is_moved = self._places.source == self._places.target
        result = self._describe(conversion, began, Path(switch.aside) if is_moved else self._places.source)
        switch.write(self._places.root)
        finish_switch(self._places.root)
        return result

    def _prepare(self) -> None:
        if obstacles := self.check():
            raise MajorUpgradeFailed(" ".join(obstacles))
        clear(self._places)
        make_work_folder(self._places.work, self._places.source)

    async def _convert(self, copy: Path) -> Conversion:
        conversion = Conversion(self._places.work, copy, self._programs, self._admin, self._say, ADMIN_OPTIONS)
        try:
            await conversion.make_new()
        except (psycopg.Error, OSError) as error:
            clear(self._places)
            raise MajorUpgradeFailed(f"{str(error).strip() or type(error).__name__}") from error
        except BaseException:
            clear(self._places)
            raise
        return conversion

    def _take_settings_along(self, new: Path) -> None:
        """Have those connect who could before; the other settings are written at each start."""
        for name in ("pg_hba.conf", "pg_ident.conf"):
            (new / name).write_bytes((self._places.source / name).read_bytes())
        if self._places.include:
            with (new / "postgresql.conf").open("a") as stream:
                stream.write(f"\ninclude_if_exists '{self._places.include}'\n")

    def _describe(self, conversion: Conversion, began: float, kept: Path) -> Upgraded:
        rows = [int(value.split()[0]) for value in conversion.contents.values() if " rows, checksum " in value]
        former = read_major(self._places.source) or 0
        return Upgraded(former, self._major, len(rows), sum(rows), kept, time.monotonic() - began)


def clear(places: ClusterPlaces) -> None:
    """End the servers that a killed upgrade has left, and remove its work folder."""
    if not places.work.exists():
        return
    for data in (places.work / "copy", places.work / "new"):
        if data.is_dir():
            postmaster.clear_away(data)
    remove_tree(places.work)


def go_back(places: ClusterPlaces, kept: Path, former: int) -> Path:
    """Have the data of before again; where the data of now is from then on."""
    aside = places.find_aside()
    major = read_major(places.target) or 0
    switch = Switch(major, former, str(kept), str(places.target), str(aside), read_use(kept))
    switch.write(places.root)
    finish_switch(places.root)
    return aside


def list_kept(target: Path) -> list[tuple[int, Path]]:
    """Data of other versions beside that in use, the one to go back to first."""
    found = [
        (major, path)
        for path in target.parent.glob(f"{target.name}-[0-9]*")
        if path.is_dir() and (major := read_major(path)) is not None
    ]
    return sorted(found, key=lambda one: one[1].stat().st_ctime, reverse=True)


def measure(folder: Path) -> int:
    """Bytes that the files of a folder take."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += Path(parent, name).lstat().st_blocks * 512
            except FileNotFoundError:  # a server runs there
                continue
    return total


@contextmanager
def hold(root: Path, name: str, who: str) -> Iterator[None]:
    """The lock `name`, for the block; MajorUpgradeFailed, saying who has it, where another process does."""
    descriptor = os.open(root / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise MajorUpgradeFailed(who, hint="Wait for it, or stop it. Nothing was changed.") from None
    finally:
        os.close(descriptor)


def _find_links(data: Path) -> Iterator[Path]:
    for path in (*data.iterdir(), *(data / "pg_tblspc").glob("*")):
        if path.is_symlink():
            yield path


async def _copy(source: Path, target: Path) -> None:
    argv = ["cp", "-a", "--reflink=auto", "--no-target-directory", "--", str(source), str(target)]
    done = await run(argv, timeout=SECONDS)
    if done.code != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise MajorUpgradeFailed(f"The data cannot be copied: {said[-1] if said else done.code}.")
