from __future__ import annotations

from dataclasses import replace

from ikoma.engines.compose.downtime import ContainerEvent, measure_downtime_ns
from ikoma.engines.docker.containers import Container

NOW = 10_000


def container(identity: str, service: str = "web", health: str | None = None, state: str = "running") -> Container:
    return Container(
        id=identity,
        name=f"app-{service}-1",
        service=service,
        state=state,
        health=health,
        exit_code=None,
        image="x",
        created_at="",
        working_dir=None,
    )


def event(at: int, identity: str, action: str, service: str = "web") -> ContainerEvent:
    return ContainerEvent(at, identity, service, action)


HEALTHY = "health_status: healthy"


def test_nothing_that_ended_is_no_downtime() -> None:
    assert measure_downtime_ns([container("a")], [], [container("a")], NOW) == 0


def test_a_first_deploy_has_no_downtime() -> None:
    assert measure_downtime_ns([], [event(5, "a", "start")], [container("a")], NOW) == 0


def test_a_service_with_a_healthcheck_serves_when_it_is_healthy() -> None:
    events = [event(100, "a", "die"), event(200, "b", "start"), event(900, "b", HEALTHY)]
    before, after = [container("a", health="healthy")], [container("b", health="healthy")]
    assert measure_downtime_ns(before, events, after, NOW) == 800


def test_a_container_of_before_that_is_starting_again_has_served() -> None:
    events = [event(100, "a", "die"), event(200, "b", "start"), event(900, "b", HEALTHY)]
    before, after = [container("a", health="starting")], [container("b", health="healthy")]
    assert measure_downtime_ns(before, events, after, NOW) == 800


def test_a_service_without_one_serves_when_it_has_started() -> None:
    events = [event(100, "a", "die"), event(350, "b", "start")]
    assert measure_downtime_ns([container("a")], events, [container("b")], NOW) == 250


def test_a_service_is_away_only_when_none_of_its_containers_serves() -> None:
    before = [container("a"), container("b")]
    one_by_one = [event(1, "a", "die"), event(9, "a", "start"), event(11, "b", "die"), event(20, "b", "start")]
    assert measure_downtime_ns(before, one_by_one, before, NOW) == 0
    together = [event(1, "a", "die"), event(3, "b", "die"), event(10, "a", "start"), event(20, "b", "start")]
    assert measure_downtime_ns(before, together, before, NOW) == 7


def test_the_longest_of_all_services_counts() -> None:
    before = [container("a"), container("d", "db")]
    events = [
        event(1, "a", "die"),
        event(2, "d", "die", "db"),
        event(5, "a", "start"),
        event(50, "d", "start", "db"),
    ]
    assert measure_downtime_ns(before, events, before, NOW) == 48


def test_services_that_did_not_serve_before_or_are_gone_on_purpose_do_not_count() -> None:
    before = [container("a", health="unhealthy"), container("o", "old")]
    events = [event(1, "a", "die"), event(2, "o", "die", "old"), event(500, "b", HEALTHY)]
    assert measure_downtime_ns(before, events, [container("b", health="healthy")], NOW) == 0


def test_what_is_still_away_counts_until_now() -> None:
    before = [container("a", health="healthy")]
    assert measure_downtime_ns(before, [event(NOW - 7, "a", "die")], [container("b", health="healthy")], NOW) == 7


def test_a_job_that_has_ended_well_was_not_away() -> None:
    done = replace(container("b", state="exited"), is_job=True, exit_code=0)
    failed = replace(done, exit_code=1)
    events = [event(100, "a", "die"), event(200, "b", "start"), event(300, "b", "die")]
    assert measure_downtime_ns([container("a")], events, [done], NOW) == 0
    assert measure_downtime_ns([container("a")], events, [failed], NOW) == NOW - 300
