from __future__ import annotations

import pytest

from ikoma.apps.observation.restarts import WINDOW, Restarts
from ikoma.ports.runtime import ReplicaEvent, RestartHistory
from tests.unit.replicas import replica

NOW = 1_800_000_000.0


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def restarts(*, followed: float = 2 * WINDOW, every: float | None = None, times: int = 0) -> tuple[Restarts, Clock]:
    """Restarts that were followed for so long, the last deaths ending now."""
    clock = Clock()
    made = Restarts(clock)
    end = clock.now + followed
    for number in reversed(range(times)):
        assert every is not None
        clock.now = end - number * every
        made.record(ReplicaEvent("shop", "1", "die", 3))
    clock.now = end
    return made, clock


def lives(count: int, *, age: float = 3600.0, up: float = 1.0) -> RestartHistory:
    return RestartHistory(count, NOW - age, NOW - up)


RUNNING = replica("1", "worker", state="running", started_again=True)


def test_a_container_that_keeps_restarting_is_told_with_number_and_time() -> None:
    found, _ = restarts(every=20, times=5)
    said = found.describe_trouble(RUNNING, lives(14), NOW)
    assert said == (
        "worker keeps restarting: 14 times since 2027-01-15T07:00:00Z, last at 2027-01-15T07:59:59Z, with exit code 3"
    )


def test_one_that_has_run_for_several_times_as_long_as_usual_is_well_again() -> None:
    found, clock = restarts(every=40, times=5)
    assert found.describe_trouble(RUNNING, lives(14, up=100), NOW)
    clock.now += 125
    assert found.describe_trouble(RUNNING, lives(14, up=125), NOW) is None


def test_one_that_crashes_fast_must_run_for_a_minute() -> None:
    found, clock = restarts(every=1, times=5)
    clock.now += 59
    assert found.describe_trouble(RUNNING, lives(14, up=59), NOW)
    clock.now += 1
    assert found.describe_trouble(RUNNING, lives(14, up=60), NOW) is None


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_few_restarts_are_no_loop(count: int) -> None:
    assert restarts(every=20, times=2)[0].describe_trouble(RUNNING, lives(count), NOW) is None


def test_restarts_of_long_ago_are_no_loop_where_all_of_the_window_is_known() -> None:
    assert restarts(every=20, times=1)[0].describe_trouble(RUNNING, lives(9, age=30 * 86400), NOW) is None


def test_a_server_that_has_just_begun_believes_the_engine() -> None:
    found, _ = restarts(followed=5)
    assert found.describe_trouble(RUNNING, lives(9, age=100, up=3), NOW)
    assert found.describe_trouble(RUNNING, lives(9, age=100, up=70), NOW) is None


def test_a_loop_that_begins_after_a_month_is_seen() -> None:
    assert restarts(every=30, times=4)[0].describe_trouble(RUNNING, lives(4, age=30 * 86400), NOW)


def test_what_somebody_stopped_or_removed_does_not_count() -> None:
    found, _ = restarts(every=5, times=3)
    found.record(ReplicaEvent("shop", "1", "die", 137))
    found.record(ReplicaEvent("shop", "1", "stop"))
    assert found.count_since("1", 0) == 3
    found.record(ReplicaEvent("shop", "1", "destroy"))
    assert found.count_since("1", 0) == 0


def test_only_containers_that_may_loop_are_asked_about() -> None:
    found, _ = restarts()
    assert found.may_loop(RUNNING)
    assert found.may_loop(replica("1", "worker", state="restarting"))
    assert not found.may_loop(replica("1", "worker", state="running"))
    assert not found.may_loop(replica("1", "worker", state="exited"))
