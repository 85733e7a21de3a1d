"""A PostgreSQL data folder made once by the product's own code, and copied for each server of the tests.

`initdb` costs more than the rest of a start. What the tests of PostgreSQL itself look at (tests/contract) is made anew
for each of them; the server of any other test begins as one does that was stopped right after its first initdb.
"""

from __future__ import annotations

import asyncio
import atexit
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from ikoma.postgres.server import cluster


def bring_postgres(state: Path) -> None:
    """Put a prepared data folder and its password into an IKOMA_STATE that does not exist yet."""
    state.mkdir(mode=0o711, parents=True)
    subprocess.run(["cp", "-a", "--reflink=auto", _prepared(), state / "postgres"], check=True)


@cache
def _prepared() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="ikoma-prepared-"))
    folder.chmod(0o711)  # PostgreSQL's own user must pass through
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    root = folder / "postgres"
    cluster.make_folders(root)
    asyncio.run(cluster.create(root, None))
    return root
