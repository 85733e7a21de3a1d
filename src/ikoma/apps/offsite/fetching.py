"""Fetches a copy: each part is compared with the signed record before it is opened."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from ikoma.apps.offsite.copy import OffsiteCopy
from ikoma.apps.offsite.packing import unpack
from ikoma.apps.offsite.sealing import Opener
from ikoma.apps.offsite.store import OffsiteStore
from ikoma.errors import OffsiteDamaged
from ikoma.ports.progress import Progress

_AT_ONCE = 2


def fetch(store: OffsiteStore, opener: Opener, copy: OffsiteCopy, target: Path, progress: Progress) -> None:
    """Write the files of a copy below a folder.

    Args:
        copy: its record, as `read_copy` checked it.
        target: an empty folder. After an error it may hold some of the files.

    Raises:
        OffsiteSealed: no key of the opener fits.
        OffsiteDamaged: a part is missing, or is not what was sent.
        OffsiteUnreachable, OffsiteRefused: the store.
    """
    with ThreadPoolExecutor(_AT_ONCE) as workers:
        unpack(_open_parts(workers, store, opener, copy, progress), target)


def _open_parts(
    workers: ThreadPoolExecutor, store: OffsiteStore, opener: Opener, copy: OffsiteCopy, progress: Progress
) -> Iterator[bytes]:
    under_way: deque[Future[bytes]] = deque()
    done = 0
    for number in range(1, len(copy.parts) + 1):
        under_way.append(workers.submit(_open_part, store, opener, copy, number))
        if len(under_way) >= _AT_ONCE:
            yield under_way.popleft().result()
            done += 1
            progress(f"fetch {copy.name}", done / len(copy.parts))
    while under_way:
        yield under_way.popleft().result()


def _open_part(store: OffsiteStore, opener: Opener, copy: OffsiteCopy, number: int) -> bytes:
    part, name = copy.parts[number - 1], copy.name_part(number)
    sealed = bytearray()
    for piece in store.read(name):
        sealed += piece
        if len(sealed) > part.size:
            break
    if len(sealed) != part.size or hashlib.sha256(sealed).hexdigest() != part.sha256:
        raise OffsiteDamaged(f"{name} off this machine is not what was sent: part {number} of {copy.name}.")
    return opener.open(bytes(sealed), f"The copy of {copy.name}")
