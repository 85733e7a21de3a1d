"""Where Compose reads an app's files: a copy that holds nothing else, as a user who may read nothing else.

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

import orjson

from ikoma.durable import remove_tree

_NOBODY = 64_999
"""A user id that owns nothing on any usual machine."""
_PREFIX = "ikoma-reading-"
_OLD_SECONDS = 600


@contextmanager
def staged(files: Mapping[str, bytes]) -> Iterator[tuple[Path, int | None]]:
    """A folder of these files, and the user id to read them as; None where we are not root and cannot choose."""
    reader = _NOBODY if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as name:
        place = Path(name)
        for path, content in files.items():
            target = place / posixpath.normpath(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        if reader is not None:
            for entry in (place, *place.rglob("*")):
                os.chown(entry, reader, reader)
        yield place, reader


def sweep() -> None:
    """Clear away what reads that were killed left; one takes seconds, so what is old is nobody's."""
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if time.time() - left.lstat().st_mtime > _OLD_SECONDS:
                remove_tree(left)


def moved_to(folder: Path, place: Path, said: bytes) -> bytes:
    """What Compose said, with the copy's place called by the app's folder."""
    target = orjson.dumps(str(folder))[1:-1]
    return said.replace(os.fsencode(place), target)
