"""Copies in a bucket of a real S3 server, on a real SFTP server and in a folder, by the child that the server uses."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import pyrage
import pytest
from botocore.exceptions import ClientError

from ikoma.apps.offsite.offsite import Offsite
from ikoma.apps.offsite.store import OffsiteStore, StoredObject, open_store
from ikoma.errors import (
    IkomaError,
    OffsiteDamaged,
    OffsiteMissing,
    OffsiteRefused,
    OffsiteSealed,
    OffsiteUnreachable,
)
from ikoma.model import Secret
from ikoma.offsite_place import OffsitePlace
from tests.offsite.places import Line, S3Server, SftpServer

KINDS = ("s3", "sftp", "file")
BIG = 20_000_000
MADE = "2026-11-30T10:00:00.000Z"
KILLS = int(os.environ.get("IKOMA_OFFSITE_KILLS", "3"))


@dataclass(frozen=True)
class Keys:
    identity: Path
    recipient: str


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    identity = pyrage.x25519.Identity.generate()
    file = tmp_path_factory.mktemp("keys") / "key.txt"
    file.write_text(f"{identity}\n")
    return Keys(file, str(identity.to_public()))


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("big") / "shop.sql"
    file.write_bytes(random.randbytes(BIG))
    return file


@pytest.fixture
def make_place(s3: S3Server, sftp: SftpServer, keys: Keys, tmp_path: Path) -> Callable[..., OffsitePlace]:
    """An empty place of a kind."""

    def make(kind: str, **more: Any) -> OffsitePlace:
        more = {"identity_file": keys.identity, **more}
        if kind == "s3":
            return s3.place("ready", keys.recipient, path=f"of/{secrets.token_hex(6)}", **more)
        folder = (sftp.root if kind == "sftp" else tmp_path) / secrets.token_hex(6)
        folder.mkdir()
        if kind == "sftp":
            return sftp.place(keys.recipient, path=str(folder), **more)
        return OffsitePlace(kind="file", path=str(folder), recipients=(keys.recipient,), **more)

    return make


def put(store: OffsiteStore, name: str, content: bytes) -> None:
    store.put(name, content, sha256(content).digest())


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_place_puts_lists_reads_and_deletes(kind: str, make_place: Callable[..., OffsitePlace]) -> None:
    content = os.urandom(3_000_000)
    with closing(open_store(make_place(kind))) as store:
        assert list(store.list_objects("")) == []
        for name in ("shop/a/00001.age", "shop/a/copy.json", "other/b/00001.age"):
            put(store, name, b"first")
            put(store, name, content)
        assert b"".join(store.read("shop/a/00001.age")) == content
        assert list(store.list_objects("shop/a/")) == [
            StoredObject("shop/a/00001.age", 3_000_000),
            StoredObject("shop/a/copy.json", 3_000_000),
        ]
        assert len(list(store.list_objects(""))) == 3
        assert list(store.list_objects("nothing/")) == []
        for name in ("shop/a/00002.age", "nothing/at/all"):
            with pytest.raises(OffsiteMissing):
                list(store.read(name))
            store.delete(name)
        for item in list(store.list_objects("")):
            store.delete(item.name)
        assert list(store.list_objects("")) == []


def test_a_place_that_refuses_or_is_not_there_says_so(s3: S3Server, sftp: SftpServer, keys: Keys) -> None:
    s3_place, sftp_place = s3.place("ready", keys.recipient), sftp.place(keys.recipient)
    other = sftp.folder / "other_hosts"
    cases: list[tuple[OffsitePlace, type[IkomaError]]] = [
        (replace(s3_place, key_id="reader"), OffsiteRefused),
        (replace(s3_place, secret=Secret("wrong")), OffsiteRefused),
        (replace(s3_place, lock_days=1), OffsiteRefused),
        (replace(s3_place, endpoint="http://127.0.0.1:1"), OffsiteUnreachable),
        (replace(sftp_place, ssh_key=sftp.folder / "stranger"), OffsiteRefused),
        (replace(sftp_place, known_hosts=other), OffsiteRefused),
        (replace(sftp_place, known_hosts=sftp.folder / "none"), OffsiteRefused),
        (replace(sftp_place, ssh_key=sftp.folder / "authorized"), OffsiteRefused),
        (replace(sftp_place, path="/no/such/folder"), OffsiteUnreachable),
        (replace(sftp_place, port=1), OffsiteUnreachable),
        (OffsitePlace(kind="file", path="/no/such/folder", recipients=()), OffsiteUnreachable),
    ]
    for place, expected in cases:
        with closing(open_store(place)) as store, pytest.raises(expected) as told:
            put(store, "shop/a/00001.age", b"x")
        assert "wrong" not in told.value.message


def run(work: Any) -> Any:
    return asyncio.run(work)


def make_offsite(place: OffsitePlace, folder: Path) -> Offsite:
    return Offsite(place, folder / "offsite", folder / "backups.key")


def check_fetched(offsite: Offsite, big: Path, folder: Path) -> None:
    target = folder / secrets.token_hex(4)
    target.mkdir()
    run(offsite.fetch("shop", "shop.sql", target))
    assert (target / "shop.sql").read_bytes() == big.read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_a_backup_goes_there_and_comes_back(
    kind: str, make_place: Callable[..., OffsitePlace], big: Path, tmp_path: Path
) -> None:
    offsite = make_offsite(make_place(kind), tmp_path)
    told: list[float | None] = []
    sent = run(
        offsite.send(
            "shop", "shop.sql", MADE, {"shop.sql": big}, progress=lambda message, fraction=None: told.append(fraction)
        )
    )
    assert (sent.size, sent.locked_until) == (BIG, None)
    assert told == sorted(told) and told[-1] == 1.0
    assert run(offsite.send("shop", "shop.sql", MADE, {"shop.sql": big})) == sent  # it is there, and stays
    assert run(offsite.look()).copies == offsite.read_known().copies == (sent,)
    check_fetched(offsite, big, tmp_path)
    run(offsite.delete("shop", "shop.sql"))
    assert offsite.read_known().copies == run(offsite.look()).copies == ()
    with pytest.raises(OffsiteMissing):
        run(offsite.fetch("shop", "shop.sql", tmp_path / "nowhere"))


def test_it_is_opened_by_age_and_tar_alone_and_by_nobody_else(
    make_place: Callable[..., OffsitePlace], big: Path, keys: Keys, tmp_path: Path
) -> None:
    place = make_place("file")
    run(make_offsite(place, tmp_path).send("shop", "shop.sql", MADE, {"shop.sql": big}))
    identity = pyrage.x25519.Identity.from_str(keys.identity.read_text().strip())
    parts = sorted((Path(place.path) / "shop" / "shop.sql").glob("*.age"))
    tar = subprocess.Popen(["tar", "-xf", "-", "-C", str(tmp_path)], stdin=subprocess.PIPE)
    assert tar.stdin is not None
    with tar.stdin:
        for part in parts:
            tar.stdin.write(pyrage.decrypt(part.read_bytes(), [identity]))
    assert tar.wait() == 0
    assert (tmp_path / "shop.sql").read_bytes() == big.read_bytes()
    for opens in (None, tmp_path / "shop.sql"):
        with pytest.raises(OffsiteSealed):
            run(make_offsite(replace(place, identity_file=opens), tmp_path).fetch("shop", "shop.sql", tmp_path / "x"))


@contextmanager
def line_to(place: OffsitePlace, server: S3Server | SftpServer) -> Iterator[tuple[Line, OffsitePlace]]:
    line = Line(server.port)
    through = {"endpoint": f"http://127.0.0.1:{line.port}"} if place.kind == "s3" else {"port": line.port}
    try:
        yield line, replace(place, **through)
    finally:
        line.close()


@pytest.mark.parametrize("kind", ["s3", "sftp"])
def test_a_line_that_breaks_half_way_loses_nothing_and_a_slow_one_is_only_slow(
    kind: str, make_place: Callable[..., OffsitePlace], s3: S3Server, sftp: SftpServer, big: Path, tmp_path: Path
) -> None:
    place = make_place(kind)
    with line_to(place, s3 if kind == "s3" else sftp) as (line, through):
        offsite = make_offsite(through, tmp_path)
        line.left = 18_000_000
        with pytest.raises(OffsiteUnreachable):
            run(offsite.send("shop", "shop.sql", MADE, {"shop.sql": big}))
        journal = tmp_path / "offsite" / "shop.shop.sql.journal"
        arrived = len(journal.read_bytes().splitlines()) - 1
        assert arrived > 0
        assert run(make_offsite(place, tmp_path).look()).copies == ()
        line.left, line.seconds_per_mib = None, 0.05
        run(offsite.send("shop", "shop.sql", MADE, {"shop.sql": big}))
        assert not journal.exists()
        check_fetched(offsite, big, tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sender_killed_at_any_moment_is_resumed_and_leaves_nothing_half(
    kind: str, make_place: Callable[..., OffsitePlace], big: Path, tmp_path: Path
) -> None:
    place = make_place(kind)
    offsite = make_offsite(place, tmp_path)
    (tmp_path / "offsite").mkdir()
    common = {"place": place.write_plain(), "key": str(tmp_path / "backups.key"), "folder": str(tmp_path / "offsite")}
    told = {"do": "send", "owner": "shop", "name": "shop.sql", "createdAt": MADE, "provenAt": None, "scheduled": False}
    request = orjson.dumps({**common, **told, "files": {"shop.sql": str(big)}})
    cut_off = 0
    for _ in range(KILLS):
        sender = subprocess.Popen(
            [sys.executable, "-m", "ikoma.apps.offsite.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert sender.stdin is not None and sender.stdout is not None
        with sender.stdin:
            sender.stdin.write(request)
        for _ in range(random.randint(0, 3)):
            sender.stdout.readline()
        time.sleep(random.uniform(0, 0.3))
        sender.send_signal(signal.SIGKILL)
        rest = sender.stdout.read()
        sender.wait()
        if b'"result"' not in rest:
            cut_off += 1
            copies = run(offsite.look()).copies
            assert copies == () or (cut_off > 0 and copies[0].size == BIG)  # whole, or not there
    run(offsite.send("shop", "shop.sql", MADE, {"shop.sql": big}))
    check_fetched(offsite, big, tmp_path)
    with closing(open_store(place)) as store:
        assert len(list(store.list_objects(""))) == 4  # three parts and the record
    if kind != "s3":
        assert [path.name for path in Path(place.path).rglob(".*")] == []
    print(f"{kind}: {cut_off} of {KILLS} senders were killed before they were done")


def test_what_somebody_changes_in_the_bucket_is_refused(
    make_place: Callable[..., OffsitePlace], s3: S3Server, big: Path, tmp_path: Path
) -> None:
    place = make_place("s3")
    offsite = make_offsite(place, tmp_path)
    run(offsite.send("shop", "shop.sql", MADE, {"shop.sql": big}))
    client, key = s3.client(), f"{place.path}/shop/shop.sql/00002.age"
    whole = client.get_object(Bucket=place.host, Key=key)["Body"].read()
    for content in (whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1]), b"", pyrage_of_others(place, whole)):
        client.put_object(Bucket=place.host, Key=key, Body=content)
        target = tmp_path / secrets.token_hex(4)
        target.mkdir()
        with pytest.raises(OffsiteDamaged, match="part 2"):
            run(offsite.fetch("shop", "shop.sql", target))
    record = f"{place.path}/shop/shop.sql/copy.json"
    foreign = make_offsite(place, tmp_path / "other")
    (tmp_path / "other").mkdir()
    assert run(foreign.look()).left_out == 1
    client.put_object(Bucket=place.host, Key=record, Body=b"{}")
    assert run(offsite.look()).copies == ()
    assert offsite.read_known().left_out == 1


def pyrage_of_others(place: OffsitePlace, content: bytes) -> bytes:
    """A part that anybody can make who knows the recipient."""
    recipient = pyrage.x25519.Recipient.from_str(place.recipients[0])
    return bytes(pyrage.encrypt(content[:1000], [recipient]))


def test_what_is_locked_can_be_deleted_by_nobody_until_its_time(s3: S3Server, keys: Keys, tmp_path: Path) -> None:
    bucket = s3.make_bucket(f"of-{secrets.token_hex(6)}", locks=True)
    offsite = make_offsite(s3.place(bucket, keys.recipient, lock_days=2, identity_file=keys.identity), tmp_path)
    small = tmp_path / "small"
    small.write_bytes(b"rows")
    sent = run(offsite.send("shop", "shop.sql", MADE, {"shop.sql": small}))
    assert sent.is_locked and sent.locked_until is not None
    assert datetime.fromisoformat(sent.locked_until) - datetime.now(UTC) > timedelta(days=1, hours=23)
    client = s3.client()
    found = client.list_object_versions(Bucket=bucket)["Versions"]
    assert len(found) == 2
    for item in found:
        with pytest.raises(ClientError, match="AccessDenied"):
            client.delete_object(Bucket=bucket, Key=item["Key"], VersionId=item["VersionId"])
    with pytest.raises(OffsiteRefused):
        run(offsite.delete("shop", "shop.sql"))
    assert run(offsite.look()).copies == (sent,)
