"""The folder where Compose reads an app's files: a copy, as a user who may read nothing else.

What Compose is to read was checked as bytes; it gets those bytes and no way to any other file, whatever its parser
makes of them.
"""

from __future__ import annotations

import os
import posixpath
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from ikoma.durable import remove_tree
from ikoma.users import NOBODY

_PREFIX = "ikoma-reading-"
_OLD_SECONDS = 600


@contextmanager
def staged(folder: Path, files: Mapping[str, bytes]) -> Iterator[tuple[Path, Path, int | None]]:
    """A root, this folder of these files in it, and the user id to read them as; None where we cannot choose.

    The folder lies as deep in that root as it does on the server, so that `..` leads to the same place.
    """
    reader = NOBODY if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as name:
        root, place = Path(name), Path(name, *folder.parts[1:])
        place.mkdir(parents=True, exist_ok=True)
        for path, content in files.items():
            target = place / posixpath.normpath(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        if reader is not None:
            for entry in (root, *root.rglob("*")):
                os.chown(entry, reader, reader)
        yield root, place, reader


def sweep() -> None:
    """Clear away what reads that were killed left; one takes seconds, so what is old is nobody's."""
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if time.time() - left.lstat().st_mtime > _OLD_SECONDS:
                remove_tree(left)


def strip_root(root: Path, said: bytes) -> bytes:
    """Compose's words with paths as they are on the server."""
    return said.replace(os.fsencode(root) + b"/", b"/").replace(os.fsencode(root), b"/")
