from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ikoma.errors import NotFound, Unauthenticated
from ikoma.kernel.callers import Callers
from ikoma.model import Role


def hashed(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def opened(folder: Path, given: str | None = None) -> Callers:
    return Callers(folder / "state.db", folder / ".env", given)


def test_the_key_of_the_settings_is_an_admin(tmp_path: Path) -> None:
    callers = opened(tmp_path, hashed("first"))
    assert callers.authenticate("first").role is Role.ADMIN


def test_a_key_appended_to_the_file_counts_at_once_and_the_former_no_more(tmp_path: Path) -> None:
    callers = opened(tmp_path, hashed("first"))
    env = tmp_path / ".env"
    env.write_text(f"API_KEY_HASH={hashed('second')}\n")
    assert callers.authenticate("second").role is Role.ADMIN
    with env.open("a") as stream:
        stream.write(f"API_KEY_HASH={hashed('third')}\n")
    assert callers.authenticate("third").role is Role.ADMIN
    for former in ("first", "second"):
        with pytest.raises(Unauthenticated):
            callers.authenticate(former)


def test_a_malformed_hash_in_the_file_opens_nothing(tmp_path: Path) -> None:
    callers = opened(tmp_path)
    (tmp_path / ".env").write_text("API_KEY_HASH=\n")
    for key in ("", "x", None):
        with pytest.raises(Unauthenticated):
            callers.authenticate(key)


def test_keys_made_and_revoked_by_another_process_count_at_once(tmp_path: Path) -> None:
    here, there = opened(tmp_path), opened(tmp_path)
    identity, key = there.create("bot", Role.OPERATOR)
    assert here.authenticate(key).name == "bot"
    there.revoke(identity)
    with pytest.raises(Unauthenticated):
        here.authenticate(key)
    with pytest.raises(NotFound):
        here.revoke(identity)


def test_a_key_ends_at_its_time(tmp_path: Path) -> None:
    callers = opened(tmp_path)

    def at(offset: timedelta) -> str:
        return (datetime.now(UTC) + offset).isoformat(timespec="seconds").replace("+00:00", "Z")

    _, ended = callers.create("old", Role.ADMIN, expires_at=at(timedelta(seconds=-1)))
    _, lasting = callers.create("new", Role.ADMIN, expires_at=at(timedelta(hours=1)))
    with pytest.raises(Unauthenticated):
        callers.authenticate(ended)
    assert callers.authenticate(lasting).name == "new"


def test_only_the_hash_of_a_key_is_kept(tmp_path: Path) -> None:
    callers = opened(tmp_path)
    _, key = callers.create("bot", Role.OBSERVER)
    callers.close()
    for path in tmp_path.iterdir():
        assert key.encode() not in path.read_bytes()
