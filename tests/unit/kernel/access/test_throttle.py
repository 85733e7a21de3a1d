from __future__ import annotations

import pytest

from ikoma.errors import TooManyFailures
from ikoma.kernel.access import throttle as module
from ikoma.kernel.access.throttle import Throttle


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


def waits(throttle: Throttle, address: str, key: str | None = "guess") -> int:
    try:
        throttle.check(address, key)
    except TooManyFailures as error:
        return int(error.details["retryAfter"])
    return 0


def test_each_failure_too_many_doubles_the_wait_up_to_five_minutes(clock: Clock) -> None:
    throttle = Throttle(3)
    seen = []
    for _ in range(16):
        throttle.count_failure("10.0.0.9")
        seen.append(waits(throttle, "10.0.0.9"))
        clock.now += seen[-1]
    assert seen[:7] == [0, 0, 0, 2, 3, 5, 9]
    assert max(seen) == 301
    assert waits(throttle, "10.0.0.10") == 0


def test_failures_are_forgotten_after_ten_quiet_minutes(clock: Clock) -> None:
    throttle = Throttle(2)
    for _ in range(3):
        throttle.count_failure("a")
    assert waits(throttle, "a")
    clock.now += 700
    throttle.count_failure("a")
    assert waits(throttle, "a") == 0


def test_a_key_that_was_good_there_goes_on_and_another_waits(clock: Clock) -> None:
    throttle = Throttle(1)
    throttle.remember_success("a", "good")
    for _ in range(5):
        throttle.count_failure("a")
    assert waits(throttle, "a", "good") == 0
    assert waits(throttle, "a", "guess")
    assert waits(throttle, "a", None)


def test_addresses_of_long_ago_take_no_memory(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_ADDRESSES", 10)
    throttle = Throttle(1)
    for number in range(100):
        throttle.count_failure(f"10.0.0.{number}")
        clock.now += 100
    assert len(throttle._addresses) <= 10
