from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ikoma.errors import InvalidArguments, NotFound, OutOfScope, Unauthenticated
from ikoma.kernel.access.caller import Caller
from ikoma.kernel.access.callers import Callers
from ikoma.kernel.state.store import Store
from ikoma.model import Effect, Role


def hashed(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def opened(folder: Path, given: str | None = None) -> Callers:
    return Callers(Store(folder / "state.db"), folder / ".env", given)


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
    callers._store.close()
    for path in tmp_path.iterdir():
        assert key.encode() not in path.read_bytes()


def test_two_keys_overlap_in_rotation_and_the_former_ends_by_itself(tmp_path: Path) -> None:
    callers = opened(tmp_path)
    identity, former = callers.create("bot", Role.OPERATOR, apps=["shop"])
    key, _ = callers.rotate(identity, overlap=3600)
    assert callers.authenticate(former) == callers.authenticate(key)
    newest, _ = callers.rotate(identity, overlap=0)
    assert callers.authenticate(newest).apps == ("shop",)
    for ended in (former, key):
        with pytest.raises(Unauthenticated):
            callers.authenticate(ended)
    callers.rotate(identity, overlap=3600)
    callers.revoke(identity)
    with pytest.raises(Unauthenticated):
        callers.authenticate(newest)
    with pytest.raises(NotFound):
        callers.rotate(identity, overlap=0)


def test_a_second_rotation_waits_for_the_overlap_that_was_promised(tmp_path: Path) -> None:
    callers = opened(tmp_path)
    identity, first = callers.create("bot", Role.OPERATOR)
    second, until = callers.rotate(identity, overlap=3600)
    with pytest.raises(InvalidArguments, match=until):
        callers.rotate(identity, overlap=60)
    assert callers.authenticate(first) == callers.authenticate(second)
    callers._store.execute("UPDATE keys SET previous_until = '2026-01-01T00:00:00Z'")
    third, _ = callers.rotate(identity, overlap=60)
    assert callers.authenticate(second) == callers.authenticate(third)


def test_the_admin_key_has_ended_when_another_took_its_place(tmp_path: Path) -> None:
    callers = opened(tmp_path)
    (tmp_path / ".env").write_text(f"API_KEY_HASH={hashed('first')}\n")
    decided = callers.authenticate("first").decides_as
    assert callers.has_ended(decided) is False
    with (tmp_path / ".env").open("a") as file:
        file.write(f"API_KEY_HASH={hashed('second')}\n")
    assert callers.has_ended(decided) is True
    assert callers.has_ended(callers.authenticate("second").decides_as) is False
    assert callers.has_ended("jwt:https://issuer.example:ann") is False


def test_a_key_says_when_it_was_last_used(tmp_path: Path) -> None:
    callers = opened(tmp_path)
    _, key = callers.create("bot", Role.OPERATOR)
    assert callers.list_keys()[0].last_used_at is None
    callers.authenticate(key)
    assert callers.list_keys()[0].last_used_at is not None


@pytest.mark.parametrize(
    ("mine", "theirs", "within"),
    [
        ({}, {"apps": ("a",)}, True),
        ({"apps": ("shop-*",)}, {}, False),
        ({"apps": ("shop-*",)}, {"apps": ("shop-web",)}, True),
        ({"apps": ("shop-*",)}, {"apps": ("shop-*",)}, True),
        ({"apps": ("shop-*",)}, {"apps": ("shop-w*",)}, False),
        ({"apps": ("shop-*",)}, {"apps": ("*",)}, False),
        ({"apps": ("shop-*",)}, {"apps": ("shop-web", "bank")}, False),
        ({"capabilities": ("db.*",)}, {"capabilities": ("db.backup",)}, True),
        ({"capabilities": ("db.*",)}, {"capabilities": ("deploy.up",)}, False),
        ({"role": Role.BUILDER}, {"role": Role.ADMIN}, False),
        ({"expires_at": "2030-01-01T00:00:00Z"}, {}, False),
        ({"expires_at": "2030-01-01T00:00:00Z"}, {"expires_at": "2029-01-01T00:00:00Z"}, True),
        ({"needs_approval": True}, {}, False),
        ({"needs_approval": True}, {"needs_approval": True}, True),
        ({"rate": 10}, {}, False),
        ({"rate": 10}, {"rate": 11}, False),
        ({"rate": 10}, {"rate": 10}, True),
    ],
)
def test_nobody_gives_more_than_they_have(mine: dict[str, Any], theirs: dict[str, Any], within: bool) -> None:
    giver = Caller("key_1", "giver", **{"role": Role.ADMIN, **mine})
    taker = Caller("key_2", "taker", **{"role": Role.OBSERVER, **theirs})
    if within:
        giver.check_covers(taker)
    else:
        with pytest.raises(OutOfScope):
            giver.check_covers(taker)


def test_a_key_with_a_rate_ends_one_without() -> None:
    Caller("key_1", "giver", Role.ADMIN, rate=10).check_covers(Caller("key_2", "taker", Role.BUILDER), given=False)


def test_a_key_that_lacks_a_right_is_led_nowhere() -> None:
    """Another call would not get it any further."""
    for caller in (Caller("k", "k", Role.ADMIN, read_only=True), Caller("k", "k", Role.ADMIN, capabilities=("db.*",))):
        with pytest.raises(OutOfScope) as refused:
            caller.check_capability("deploy.up", Effect.CHANGES)
        assert refused.value.next == ()
