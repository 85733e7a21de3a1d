"""S3 services that are slow, fail half-way, deny, or lie: no copy exists that is not whole, and what can be is sent."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pyrage
import pytest

from ikoma.apps.offsite.offsite import Offsite
from ikoma.errors import IkomaError, OffsiteDamaged, OffsiteRefused, OffsiteUnreachable
from ikoma.model import Secret
from ikoma.offsite_place import OffsitePlace
from tests.offsite.odd_service import OddService

MADE = "2026-11-30T10:00:00.000Z"
BIG = 20_000_000  # three parts


@pytest.fixture
def service() -> Iterator[OddService]:
    made = OddService()
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


class Sender:
    """A server's way to that service, and a backup of three parts."""

    def __init__(self, service: OddService, folder: Path) -> None:
        identity = pyrage.x25519.Identity.generate()
        (folder / "key.txt").write_text(str(identity))
        place = OffsitePlace(
            kind="s3",
            host="bucket",
            recipients=(str(identity.to_public()),),
            endpoint=f"http://127.0.0.1:{service.server_port}",
            key_id="k",
            secret=Secret("s"),
            path="",
            identity_file=folder / "key.txt",
        )
        self.folder = folder
        self.offsite = Offsite(place, folder / "offsite", folder / "backups.key")
        self.backup = folder / "shop.sql"
        self.backup.write_bytes(secrets.token_bytes(BIG))

    def send(self) -> None:
        asyncio.run(self.offsite.send("shop", "shop.sql", MADE, {"shop.sql": self.backup}))

    def fails(self, error: type[IkomaError]) -> str:
        """Send in vain: there is no copy then, and the backup is as it was; what is said."""
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


@pytest.fixture
def sender(service: OddService, tmp_path: Path) -> Sender:
    return Sender(service, tmp_path)


def test_one_that_is_overloaded_for_a_while_gets_all(service: OddService, sender: Sender) -> None:
    service.pause = 0.3
    service.fault = lambda number: (503, "SlowDown") if number in (1, 2, 4) else None
    sender.send()
    sender.require_whole()


def test_one_that_fails_half_way_gets_the_rest_later(service: OddService, sender: Sender) -> None:
    service.fault = lambda number: (500, "InternalError") if number > 2 else None
    assert "InternalError" in sender.fails(OffsiteUnreachable)
    kept, service.puts, service.fault = dict(service.objects), 0, lambda number: None
    assert 1 <= len(kept) <= 2
    sender.send()
    assert service.puts == 4 - len(kept), "what has arrived is not sent again; the record is one more"
    sender.require_whole()


def test_one_that_denies_half_way_is_asked_no_more_and_says_why(service: OddService, sender: Sender) -> None:
    service.fault = lambda number: (403, "AccessDenied") if number > 1 else None
    assert "AccessDenied" in sender.fails(OffsiteRefused)
    assert service.puts <= 4, "a refusal is not tried again and again"
    service.fault = lambda number: None
    sender.send()
    sender.require_whole()


@pytest.mark.parametrize("lie", [lambda content: content[:-1], lambda content: content[:-1] + b"\0", lambda _: b""])
def test_one_that_says_yes_and_keeps_something_else_has_no_copy(
    service: OddService, sender: Sender, lie: Callable[[bytes], bytes]
) -> None:
    service.keep = lie
    assert "read back" in sender.fails(OffsiteDamaged)
    assert not any(name.endswith("copy.json") for name in service.objects)
    service.keep = lambda content: content
    sender.send()
    sender.require_whole()


def test_one_that_spoils_what_it_has_later_is_found_out_when_it_is_fetched(service: OddService, sender: Sender) -> None:
    sender.send()
    service.show = lambda content: content[:-1] + bytes([content[-1] ^ 1]) if len(content) > 1_000_000 else content
    with pytest.raises(OffsiteDamaged):
        sender.require_whole()
    service.show = lambda content: content
    sender.require_whole()
