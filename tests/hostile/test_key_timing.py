"""How long the refusal of a key takes does not tell how much of the key was right.

Refusals of keys that are wrong in different places are timed in turns, and their medians compared. A key is only ever
hashed and the hash compared whole: one that notices being looked at in any other way says so.
"""

from __future__ import annotations

import gc
import hmac
import itertools
import statistics
import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from ikoma.errors import Unauthenticated
from ikoma.kernel.access.callers import Callers
from ikoma.kernel.state.store import Store
from ikoma.model import Role

ROUNDS, TRIES = 1500, 5
BOUND = 0.06
"""How far apart the medians of one try may be, as a part of the fastest; the best of the tries counts."""

Check = Callable[[str], None]


def refused(callers: Callers, key: str) -> None:
    try:
        callers.authenticate(key)
    except Unauthenticated:
        return
    raise AssertionError("a wrong key was taken")


def wrong(key: str) -> Mapping[str, str]:
    """Keys that are wrong in different ways; the shorter and the longer one hash as fast, being of one block."""
    other = "A" if key[-1] != "A" else "B"
    return {
        "unknown": "ikoma_" + other * (len(key) - 6),
        "first character": "X" + key[1:],
        "middle": key[:24] + other * 2 + key[26:],
        "last character": key[:-1] + other,
        "one too few": key[:-1],
        "one too many": key + other,
    }


def spread(check: Check, keys: Mapping[str, str]) -> float:
    """How far apart the median times of these keys are, as a part of the smallest; the least of some tries."""
    return min(_spread(check, keys) for _ in range(TRIES))


def _spread(check: Check, keys: Mapping[str, str]) -> float:
    taken: dict[str, list[int]] = {name: [] for name in keys}
    orders = itertools.cycle(itertools.permutations(keys, len(keys)))
    gc.disable()
    try:
        for order in itertools.islice(orders, ROUNDS):
            for name in order:
                key = keys[name]
                began = time.perf_counter_ns()
                check(key)
                taken[name].append(time.perf_counter_ns() - began)
    finally:
        gc.enable()
    medians = [statistics.median(times) for times in taken.values()]
    return (max(medians) - min(medians)) / min(medians)


@pytest.fixture
def stored(tmp_path: Path) -> tuple[Callers, str]:
    """A few keys in state.db, and one of them."""
    callers = Callers(Store(tmp_path / "state.db"), tmp_path / ".env", None)
    return callers, [callers.create(f"key {number}", Role.OPERATOR)[1] for number in range(3)][1]


@pytest.fixture
def of_settings(tmp_path: Path) -> tuple[Callers, str]:
    """The admin key, whose hash is in the file of the settings."""
    key = "ikoma_" + "k" * 43
    (tmp_path / ".env").write_text(f"API_KEY_HASH={sha256(key.encode()).hexdigest()}\n")
    return Callers(Store(tmp_path / "state.db"), tmp_path / ".env", None), key


@pytest.fixture(params=["stored", "of_settings"])
def house(request: pytest.FixtureRequest) -> tuple[Callers, str]:
    found: tuple[Callers, str] = request.getfixturevalue(request.param)
    return found


def test_the_time_of_a_refusal_does_not_tell_what_was_right(house: tuple[Callers, str]) -> None:
    callers, key = house
    callers.authenticate(key)
    apart = spread(lambda given: refused(callers, given), wrong(key))
    print(f"medians at most {apart:.1%} apart")
    assert apart < BOUND


def test_the_measurement_tells_a_comparison_that_stops_at_the_first_difference(stored: tuple[Callers, str]) -> None:
    callers, key = stored

    def naive(given: str) -> None:
        refused(callers, given)
        for ours, theirs in zip(key, given, strict=False):
            if ours != theirs:
                return

    assert spread(naive, wrong(key)) > BOUND


class Watched(str):
    """A key that may be hashed, and asked whether it is one at all, and nothing else."""

    def __getattribute__(self, name: str) -> Any:
        if name != "encode":
            raise AssertionError(f"the text of a key was used: {name}")
        return super().__getattribute__(name)

    def _looked_at(self, *_: object) -> Any:
        raise AssertionError("the text of a key was compared or taken apart")

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _looked_at
    __hash__ = _looked_at
    __contains__ = __iter__ = __getitem__ = __add__ = __mod__ = __format__ = __str__ = _looked_at


def test_a_key_is_only_ever_hashed(house: tuple[Callers, str]) -> None:
    callers, key = house
    assert callers.authenticate(Watched(key)).role >= Role.OPERATOR
    for given in wrong(key).values():
        refused(callers, Watched(given))


def test_every_refusal_compares_the_same_whole_hashes(
    house: tuple[Callers, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    callers, key = house
    callers.authenticate(key)
    compared: list[tuple[str, str]] = []
    whole = hmac.compare_digest

    def recorded(ours: str, theirs: str) -> bool:
        compared.append((ours, theirs))
        return whole(ours, theirs)

    monkeypatch.setattr(hmac, "compare_digest", recorded)
    seen = []
    for given in wrong(key).values():
        compared.clear()
        refused(callers, given)
        assert {theirs for _, theirs in compared} == {sha256(given.encode()).hexdigest()}
        seen.append([ours for ours, _ in compared])
    assert sha256(key.encode()).hexdigest() in seen[0]
    assert all(hashes == seen[0] for hashes in seen)
    assert {len(text) for hashes in seen for text in hashes} == {64}


def test_what_is_kept_of_a_key_is_its_hash_alone(stored: tuple[Callers, str], tmp_path: Path) -> None:
    _, key = stored
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("state.db*"))
    assert sha256(key.encode()).hexdigest().encode() in kept
    assert not any(key[at : at + 8].encode() in kept for at in range(6, len(key) - 8))
