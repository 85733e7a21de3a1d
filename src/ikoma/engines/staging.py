"""Where Compose reads an app's files: a copy that holds nothing else, as a user who may read nothing else.

What Compose is to read was checked as bytes; it gets those bytes and no way to any other file, whatever its parser
makes of them.
"""

from __future__ import annotations

import os
import posixpath
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import orjson

_NOBODY = 64_999
"""A user id that owns nothing on any usual machine."""


@contextmanager
def staged(files: Mapping[str, bytes]) -> Iterator[tuple[Path, int | None]]:
    """A folder of these files, and the user id to read them as; None where we are not root and cannot choose."""
    reader = _NOBODY if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="ikoma-reading-") as name:
        place = Path(name)
        for path, content in files.items():
            target = place / posixpath.normpath(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        if reader is not None:
            for entry in (place, *place.rglob("*")):
                os.chown(entry, reader, reader)
        yield place, reader


def moved_to(folder: Path, place: Path, said: bytes) -> bytes:
    """What Compose said, with the copy's place called by the app's folder."""
    target = orjson.dumps(str(folder))[1:-1]
    return said.replace(os.fsencode(place), target)
