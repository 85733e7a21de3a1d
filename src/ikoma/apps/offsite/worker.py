"""The child process that talks to a store: `python -m ikoma.apps.offsite.worker`, one request on its standard input.

It says lines of JSON: `progress`, and at the end `result` or `error`. What opens the place comes in the request, so it
is in no argument and no variable; the libraries and the memory that a transfer takes go with the process.
"""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import orjson

from ikoma.apps.offsite.copy import OffsiteCopy, delete_copy, list_copies, read_copy
from ikoma.apps.offsite.fetching import fetch
from ikoma.apps.offsite.sealing import Opener, Seal
from ikoma.apps.offsite.sending import Shipment, send
from ikoma.apps.offsite.store import OffsiteStore, open_store
from ikoma.apps.signing import BackupKey
from ikoma.errors import IkomaError, OffsiteMissing
from ikoma.offsite_place import OffsitePlace


class _Request:
    """A request: the place, the server's key, and the arguments of one deed."""

    def __init__(self, told: Mapping[str, Any]) -> None:
        self.place = OffsitePlace.from_plain(told["place"])
        self.key = BackupKey(Path(told["key"]))
        self.folder = Path(told["folder"])
        self.owner, self.name = str(told.get("owner", "")), str(told.get("name", ""))
        self.told = told

    def send(self, store: OffsiteStore) -> dict[str, Any]:
        """Send a backup, unless it is there: another server of this state, or a killed one, may have done it."""
        files = {name: Path(path) for name, path in self.told["files"].items()}
        made, proven, scheduled = (self.told[name] for name in ("createdAt", "provenAt", "scheduled"))
        shipment = Shipment(self.owner, self.name, made, files, proven, scheduled)
        seal = Seal(self.place.recipients)
        journal = self.folder / f"{self.owner}.{self.name}.journal"
        with _alone(self.folder / "sending.lock"):
            try:
                there = read_copy(store, self.owner, self.name, self.key)
                if there.created_at == made:
                    return _describe(there)
            except IkomaError:
                pass  # none, or none that counts
            return _describe(
                send(store, seal, self.key, shipment, journal, _tell_progress, lock_days=self.place.lock_days)
            )

    def list(self, store: OffsiteStore) -> dict[str, Any]:
        copies, left_out = list_copies(store, self.key)
        return {"copies": [_describe(copy) for copy in copies], "leftOut": left_out}

    def fetch(self, store: OffsiteStore) -> dict[str, Any]:
        copy = read_copy(store, self.owner, self.name, self.key)
        fetch(store, Opener(self.place.identity_file), copy, Path(self.told["target"]), _tell_progress)
        return _describe(copy)

    def delete(self, store: OffsiteStore) -> dict[str, Any]:
        try:
            copy = read_copy(store, self.owner, self.name, self.key)
        except OffsiteMissing:
            return {}
        delete_copy(store, copy)
        return _describe(copy)


_DEEDS: Mapping[str, Callable[[_Request, OffsiteStore], dict[str, Any]]] = {
    "send": _Request.send,
    "list": _Request.list,
    "fetch": _Request.fetch,
    "delete": _Request.delete,
}


def main() -> int:
    """Do what is asked, and say what came of it."""
    os.umask(0o077)
    told = orjson.loads(sys.stdin.buffer.read())
    try:
        request = _Request(told)
        with closing(open_store(request.place)) as store:
            _say({"result": _DEEDS[told["do"]](request, store)})
    except IkomaError as error:
        _say({"error": {"code": error.code, "message": error.message, "hint": error.hint}})
    return 0


def _describe(copy: OffsiteCopy) -> dict[str, Any]:
    """The copy without its parts, which may be very many."""
    return {**asdict(replace(copy, parts=())), "parts": []}


def _tell_progress(message: str, fraction: float | None = None) -> None:
    _say({"progress": message, "fraction": fraction})


def _say(told: Mapping[str, Any]) -> None:
    sys.stdout.buffer.write(orjson.dumps(told) + b"\n")
    sys.stdout.buffer.flush()


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold a lock for the block, which ends with this process at the latest."""
    with path.open("ab") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    sys.exit(main())
