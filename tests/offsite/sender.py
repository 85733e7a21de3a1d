"""A way to a place off the machine, and a backup of three parts to send there."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

import pyrage
import pytest

from ikoma.apps.offsite.offsite import Offsite
from ikoma.errors import IkomaError
from ikoma.offsite_place import OffsitePlace

MADE = "2026-11-30T10:00:00.000Z"
BIG = 20_000_000  # three parts


class Sender:
    """A server with a place, a key that opens its copies, and a backup of three parts."""

    def __init__(self, folder: Path) -> None:
        identity = pyrage.x25519.Identity.generate()
        (folder / "key.txt").write_text(str(identity))
        self.recipient = str(identity.to_public())
        self.folder = folder
        self.backup = folder / "shop.sql"
        self.backup.write_bytes(secrets.token_bytes(BIG))

    def use(self, place: OffsitePlace) -> None:
        self.offsite = Offsite(place, self.folder / "offsite", self.folder / "backups.key")

    def send(self) -> None:
        asyncio.run(self.offsite.send("shop", "shop.sql", MADE, {"shop.sql": self.backup}))

    def fails(self, error: type[IkomaError]) -> str:
        """Send in vain: there is no copy then; what is said."""
        with pytest.raises(error) as told:
            self.send()
        assert self.offsite.read_known().copies == ()
        assert self.backup.stat().st_size == BIG
        return told.value.message

    def require_whole(self) -> None:
        target = self.folder / secrets.token_hex(4)
        target.mkdir()
        asyncio.run(self.offsite.fetch("shop", "shop.sql", target))
        assert (target / "shop.sql").read_bytes() == self.backup.read_bytes()
