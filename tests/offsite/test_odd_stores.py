"""S3 services that are slow, fail half-way, deny, or lie: no copy exists that is not whole, and what can be is sent."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ikoma.errors import OffsiteDamaged, OffsiteRefused, OffsiteUnreachable
from ikoma.model import Secret
from ikoma.offsite_place import OffsitePlace
from tests.offsite.odd_service import OddService
from tests.offsite.sender import Sender


@pytest.fixture
def service() -> Iterator[OddService]:
    made = OddService()
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def sender(service: OddService, tmp_path: Path) -> Sender:
    made = Sender(tmp_path)
    place = OffsitePlace(
        kind="s3",
        host="bucket",
        recipients=(made.recipient,),
        endpoint=f"http://127.0.0.1:{service.server_port}",
        key_id="k",
        secret=Secret("s"),
        path="",
        identity_file=tmp_path / "key.txt",
    )
    made.use(place)
    return made


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
