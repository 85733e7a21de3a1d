"""The plan of a rollout is plain data: what is kept, started, replaced, stopped first and run once."""

from __future__ import annotations

from dataclasses import replace

from ikoma.engines.compose.rollout.decision import RolloutFacts, decide, list_decisions
from ikoma.engines.compose.rollout.planning import plan_services
from ikoma.engines.docker.containers import Container
from ikoma.ports.rollout import RolloutPlan, RolloutStep
from tests.unit.engines.compose.rollout.test_decision import as_wanted, other, wanted

JOB = {"condition": "service_completed_successfully"}
SERVICES = {
    "job": {},
    "web": {"depends_on": {"job": JOB}},
    "cache": {},
    "store": {"ports": [{"target": 5432, "published": "5432"}]},
    "mail": {},
}


def what_runs_before() -> tuple[RolloutFacts, list[Container]]:
    there = [
        other("job-1", "job", state="exited", exit_code=0),
        other("web-1"),
        other("web-2"),
        as_wanted("cache-1", "cache"),
        other("store-1", "store"),
        other("gone-1", "gone"),
    ]
    return wanted(SERVICES, scale={"web": 2}), there


def test_each_service_has_its_step_in_the_order_of_their_needs() -> None:
    facts, there = what_runs_before()
    plan = RolloutPlan("1", plan_services(facts, there))
    assert {item.service: item.step for item in plan.services} == {
        "job": RolloutStep.RUN_ONCE,
        "web": RolloutStep.REPLACE,
        "cache": RolloutStep.KEEP,
        "store": RolloutStep.STOP_FIRST,
        "mail": RolloutStep.START,
        "gone": RolloutStep.REMOVE,
    }
    names = [item.service for item in plan.services]
    assert names.index("job") < names.index("web")
    assert names[-1] == "gone"


def test_a_step_says_which_replicas_it_is_about() -> None:
    facts, there = what_runs_before()
    plan = RolloutPlan("1", plan_services(facts, there))
    web, cache, store = plan.find("web"), plan.find("cache"), plan.find("store")
    assert web is not None
    assert cache is not None
    assert store is not None
    assert ([item.id for item in web.replace], web.start, web.stop_first, web.alone) == (
        ["web-1", "web-2"],
        2,
        (),
        None,
    )
    assert ([item.id for item in cache.keep], cache.start) == (["cache-1"], 0)
    assert ([item.id for item in store.stop_first], store.alone) == (["store-1"], "it has the host port 5432")
    assert plan.find("other") is None


def test_what_cannot_run_with_the_database_to_come_stops_first() -> None:
    facts, there = what_runs_before()
    plan = plan_services(replace(facts, again=True, stops_first=True), there)
    steps = {item.service: item.step for item in plan}
    assert (steps["web"], steps["cache"], steps["mail"]) == (
        RolloutStep.STOP_FIRST,
        RolloutStep.STOP_FIRST,
        RolloutStep.START,
    )
    assert [item.id for part in plan if part.service == "web" for item in part.stop_first] == ["web-1", "web-2"]


def test_a_plan_that_was_printed_is_the_one_that_is_carried_out() -> None:
    facts, there = what_runs_before()
    plan = RolloutPlan("1", plan_services(facts, there))
    assert list_decisions(plan, there) == decide(facts, there)
    left = [item for item in there if item.id != "web-1"]  # one ended between plan and rollout
    web = next(item for item in list_decisions(plan, left) if item.service == "web")
    assert [item.id for item in web.replaced] == ["web-2"]
