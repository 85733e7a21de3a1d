"""SFTP servers that are full, deny, give out half-way, are slow or lie: no copy exists that is not whole."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from ikoma.apps.offsite.store import open_store
from ikoma.errors import IkomaError, OffsiteDamaged, OffsiteRefused, OffsiteUnreachable
from ikoma.offsite_place import OffsitePlace
from tests.faults.server_observations import fill, small_disk
from tests.offsite.places import sftp_server
from tests.offsite.sender import Sender


@pytest.fixture
def sender(tmp_path: Path) -> Sender:
    return Sender(tmp_path)


def test_a_full_disk_there_is_told_leaves_nothing_half_and_is_gone_on_with(sender: Sender, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "40m") as disk, sftp_server(disk / "host") as there:
        sender.use(there.place(sender.recipient, identity_file=tmp_path / "key.txt"))
        filler = fill(disk, leaving=12 << 20)
        assert "has no room left" in sender.fails(OffsiteUnreachable)
        assert list(there.root.rglob(".ikoma-writing-*")) == [], "it would take the room that is left"
        assert not list(there.root.rglob("copy.json"))
        filler.unlink()
        sender.send()
        sender.require_whole()


def test_a_server_that_only_lets_read_refuses(sender: Sender, tmp_path: Path) -> None:
    with sftp_server(tmp_path / "host", "internal-sftp -R") as there:
        place = there.place(sender.recipient, identity_file=tmp_path / "key.txt")
        sender.use(place)
        assert "refuses" in sender.fails(OffsiteRefused)
        with closing(open_store(place)) as store:
            assert list(store.list_objects("")) == []


class OddServer:
    """A real SSH server whose files have faults of a test's choice."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "backups"
        self.root.mkdir(parents=True)
        self.folder = folder
        self.written = 0
        self.fault: Callable[[int], Exception | None] = lambda written: None
        """What a write fails of, by the bytes that were written before it."""
        self.keep: Callable[[bytes], bytes] = lambda content: content
        self.port = 0

    async def start(self) -> asyncssh.SSHAcceptor:
        odd = self

        class Files(asyncssh.SFTPServer):
            def write(self, file_obj: object, offset: int, data: bytes) -> Any:
                if (error := odd.fault(odd.written)) is not None:
                    raise error
                odd.written += len(data)
                super().write(file_obj, offset, odd.keep(data))
                return len(data)

        key, host = asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ssh-ed25519")
        (self.folder / "id").write_bytes(key.export_private_key())
        (self.folder / "id").chmod(0o600)
        (self.folder / "known_hosts").write_text(f"* {host.export_public_key().decode()}")
        (self.folder / "allowed").write_bytes(key.export_public_key())
        server = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[host],
            authorized_client_keys=str(self.folder / "allowed"),
            sftp_factory=Files,
        )
        self.port = server.get_port()
        return server

    def place(self, recipient: str, **more: Any) -> OffsitePlace:
        return OffsitePlace(
            kind="sftp",
            host="127.0.0.1",
            port=self.port,
            user="backups",
            path=str(self.root),
            ssh_key=self.folder / "id",
            known_hosts=self.folder / "known_hosts",
            recipients=(recipient,),
            **more,
        )


@contextmanager
def odd_server(folder: Path) -> Iterator[OddServer]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    made = OddServer(folder)
    server = asyncio.run_coroutine_threadsafe(made.start(), loop).result(30)
    try:
        yield made
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)


@pytest.fixture
def odd(sender: Sender, tmp_path: Path) -> Iterator[OddServer]:
    with odd_server(tmp_path / "odd") as made:
        sender.use(made.place(sender.recipient, identity_file=tmp_path / "key.txt"))
        yield made


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (asyncssh.SFTPPermissionDenied("of this test"), OffsiteRefused),
        (asyncssh.SFTPFailure("of this test"), OffsiteUnreachable),
        (asyncssh.SFTPQuotaExceeded("of this test"), OffsiteUnreachable),
    ],
    ids=["denies", "fails", "quota"],
)
def test_one_that_gives_out_half_way_gets_the_rest_later(
    odd: OddServer, sender: Sender, error: Exception, expected: type[IkomaError]
) -> None:
    odd.fault = lambda written: error if written > 12_000_000 else None
    assert "of this test" in sender.fails(expected)
    assert not list(odd.root.rglob("copy.json"))
    odd.fault = lambda written: None
    sender.send()
    sender.require_whole()


@pytest.mark.parametrize("lie", [lambda content: content[:-1], lambda content: content[:-1] + b"\0"])
def test_one_that_says_yes_and_keeps_something_else_has_no_copy(
    odd: OddServer, sender: Sender, lie: Callable[[bytes], bytes]
) -> None:
    odd.keep = lie
    assert "read back" in sender.fails(OffsiteDamaged)
    assert not list(odd.root.rglob("copy.json"))
    odd.keep = lambda content: content
    sender.send()
    sender.require_whole()


def test_one_that_spoils_what_it_has_later_is_found_out_when_it_is_fetched(odd: OddServer, sender: Sender) -> None:
    sender.send()
    part = odd.root / "shop" / "shop.sql" / "00002.age"
    whole = part.read_bytes()
    for content in (whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1])):
        part.write_bytes(content)
        with pytest.raises(OffsiteDamaged):
            sender.require_whole()
    part.write_bytes(whole)
    sender.require_whole()
