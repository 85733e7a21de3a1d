"""The dumps that this server wrote down when it made them: by these, manifests of before there were signatures count.

The journal lies in state.db, out of reach of who can write to BACKUPS_ROOT. It has the SHA-256 of each `db.backup` that
went well; of the dumps that deploys made it has none, so those stay unsigned, and are an admin's to vouch for.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import orjson

from ikoma.apps.database.backups import Backups, KnownDump
from ikoma.kernel.operations.journal import SUCCEEDED, Journal, Record

log = logging.getLogger("ikoma")

_MOST = 100_000


def sign_former(backups: Backups, journal: Journal) -> None:
    """Sign what an earlier version has left unsigned and the journal knows; from then on there is nothing to do."""
    for name in backups.sign_former(lambda: _read_known(_list_made(journal))):
        log.info("the manifest of %s, of before manifests were signed, is signed now: the journal knows it", name)


def _list_made(journal: Journal) -> Iterable[Record]:
    return journal.list_newest(_MOST, None, lambda item: item.capability == "db.backup" and item.state == SUCCEEDED)


def _read_known(records: Iterable[Record]) -> Iterator[KnownDump]:
    for record in records:
        if record.app is None or record.result is None or record.finished_at is None:
            continue
        told = orjson.loads(record.result)
        name, sha256, tables = Path(str(told.get("backupPath"))).name, told.get("sha256"), told.get("tables")
        if isinstance(sha256, str) and isinstance(tables, dict):
            yield KnownDump(record.app, name, sha256, record.finished_at, tables)
