"""Which containers are kept, which make room first, and which services have one container only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ikoma.app_folder import App
from ikoma.compose.model import ComposeModel, parse_model
from ikoma.compose.mounts import Sources
from ikoma.compose.services import sort_by_need
from ikoma.compose.single import explain_single
from ikoma.compose.x_ikoma import Extension
from ikoma.engines.compose.rollout.decision import RolloutFacts, decide
from ikoma.engines.docker.containers import Container
from ikoma.model import AppName
from tests.unit.replicas import container

MODEL = {
    "services": {
        "web": {"depends_on": {"job": {"condition": "service_completed_successfully"}}},
        "job": {},
        "tunnel": {},
        "inside": {"network_mode": "service:tunnel"},
        "named": {"container_name": "door"},
    }
}


@pytest.mark.parametrize(
    ("service", "reason"),
    [
        ("web", None),
        ("job", "it runs once for each release"),
        ("tunnel", "inside runs inside it"),
        ("inside", "it runs inside tunnel"),
        ("named", "it has the container name door"),
    ],
)
def test_what_runs_once_shares_a_namespace_or_has_a_name_has_one_container(service: str, reason: str | None) -> None:
    assert explain_single(parse_model(MODEL), service) == reason


def wanted(services: dict[str, Any], **more: Any) -> RolloutFacts:
    app = App(AppName("shop"), Path("/srv/apps/shop"))
    configurations = {name: f"{name}-new" for name in services}
    fields = {"extension": Extension(), "sources": Sources((Path("/srv/apps/shop/src"),), ()), "scale": {}}
    return RolloutFacts(
        app=app, model=parse_model({"services": services}), configurations=configurations, **(fields | more)
    )


def as_wanted(identity: str, service: str = "web", **more: Any) -> Container:
    return container(identity, service, configuration=f"{service}-new", **more)


def other(identity: str, service: str = "web", **more: Any) -> Container:
    return container(identity, service, configuration=f"{service}-old", **more)


@pytest.mark.parametrize(
    ("there", "more", "decided"),
    [
        ([], {}, ([], [], 1)),
        ([as_wanted("a")], {}, (["a"], [], 0)),
        ([as_wanted("a")], {"again": True}, ([], ["a"], 1)),
        ([other("a")], {}, ([], ["a"], 1)),
        ([as_wanted("a", health="unhealthy")], {}, ([], ["a"], 1)),
        ([as_wanted("a", state="exited")], {}, ([], ["a"], 1)),
        ([as_wanted("a")], {"scale": {"web": 3}}, (["a"], [], 2)),
        ([as_wanted("a"), as_wanted("b")], {}, (["a"], ["b"], 0)),
        ([as_wanted("a"), other("b")], {"scale": {"web": 2}}, (["a"], ["b"], 1)),
        ([as_wanted("a")], {"scale": {"web": 0}}, ([], ["a"], 0)),
    ],
)
def test_containers_that_are_as_wanted_are_kept(
    there: list[Container], more: dict[str, Any], decided: tuple[list[str], list[str], int]
) -> None:
    decision = decide(wanted({"web": {}}, **more), there)[0]
    kept, replaced = ([item.id for item in part] for part in (decision.kept, decision.replaced))
    assert (kept, replaced, decision.new) == decided


def test_what_runs_once_or_inside_a_new_container_is_made_anew_and_what_is_gone_goes() -> None:
    services = {
        "web": {"depends_on": {"job": {"condition": "service_completed_successfully"}}},
        "job": {},
        "side": {"network_mode": "service:web"},
    }
    there = [other("a"), as_wanted("b", "job"), as_wanted("c", "side"), other("d", "gone")]
    decisions = {item.service: item for item in decide(wanted(services), there)}
    assert list(decisions) == ["job", "web", "side", "gone"]
    assert {name: item.new for name, item in decisions.items()} == {"job": 1, "web": 1, "side": 1, "gone": 0}
    assert [item.id for item in decisions["gone"].replaced] == ["d"]


@pytest.mark.parametrize(
    ("service", "strategy", "reason"),
    [
        ({}, None, None),
        ({}, "recreate", "x-ikoma says recreate"),
        ({"ports": [{"target": 80}]}, None, None),
        ({"ports": [{"target": 80, "published": "8080"}]}, "rolling", "it has the host port 8080"),
        (
            {"networks": {"inner": {"ipv4_address": "10.0.0.2"}}},
            None,
            "it has an address of its own in the network inner",
        ),
        ({"networks": {"inner": None}}, None, None),
        (
            {"volumes": [{"type": "volume", "source": "store"}]},
            None,
            "two of it must not write the volume store at once",
        ),
        ({"volumes": [{"type": "volume", "source": "store"}]}, "rolling", None),
        ({"volumes": [{"type": "volume", "source": "store", "read_only": True}]}, None, None),
        ({"volumes": [{"type": "bind", "source": "/srv/apps/shop/src"}]}, None, None),
        (
            {"volumes": [{"type": "bind", "source": "/srv/apps/shop/data"}]},
            None,
            "two of it must not write the folder data at once",
        ),
    ],
)
def test_what_two_containers_cannot_share_makes_one_wait_for_the_other(
    service: dict[str, Any], strategy: str | None, reason: str | None
) -> None:
    decision = decide(wanted({"web": service}, extension=Extension(strategy=strategy)), [other("a")])[0]
    assert decision.alone == reason
    stopped = decide(wanted({"web": service}, extension=Extension(strategy=strategy)), [other("a", state="exited")])[0]
    assert stopped.alone is None


@pytest.mark.parametrize(
    "has", [{"ports": [{"published": "80"}]}, {"volumes": [{"type": "volume", "source": "store"}]}]
)
def test_only_what_the_containers_of_before_have_is_waited_for(has: dict[str, Any]) -> None:
    for before, waits in (({}, False), (has, True)):
        found = decide(wanted({"web": has}, before=parse_model({"services": {"web": before}})), [other("a")])
        assert bool(found[0].alone) is waits
        assert [item.id for item in found[0].first] == ["a"] * waits


def kept_of(*rollouts: str) -> list[Container]:
    return [as_wanted(rollout, f"s{rollout}", rollout=rollout) for rollout in rollouts]


@pytest.mark.parametrize(
    ("rollouts", "alone", "replaced"),
    [
        ("123", "", ""),
        ("1234", "", "1"),
        ("12345", "", "12"),
        ("1234", "1", "2"),
        ("1234", "1234", "1"),
    ],
)
def test_of_too_many_rollouts_those_are_left_first_whose_containers_need_not_stop(
    rollouts: str, alone: str, replaced: str
) -> None:
    services = {f"s{rollout}": {"ports": [{"published": rollout}]} if rollout in alone else {} for rollout in rollouts}
    there = kept_of(*rollouts)
    found = decide(wanted({"web": {}, **services}), there)
    assert [item.service for item in found if item.outdated] == [f"s{rollout}" for rollout in replaced]
    assert [item.new for item in found] == [1, *(int(rollout in replaced) for rollout in rollouts)]
    assert not any(item.new for item in decide(wanted(services), there))  # where nothing is made, nothing grows


def test_data_in_a_volume_without_a_name_is_written_by_one_container() -> None:
    keeping = frozenset({"a"})
    assert decide(wanted({"web": {}}, keeping=keeping), [other("a")])[0].alone
    rolling = Extension(strategy="rolling")
    assert decide(wanted({"web": {}}, keeping=keeping, extension=rolling), [other("a")])[0].alone is None


def test_services_come_after_those_they_need_also_in_a_circle() -> None:
    services: dict[str, Any] = {
        "web": {"depends_on": {"api": {}}},
        "api": {"depends_on": {"db": {}}},
        "db": {},
        "side": {"pid": "service:api"},
    }
    circle = {"a": {"depends_on": {"b": {}}}, "b": {"depends_on": {"a": {}}}}
    assert sort_by_need(parse_model({"services": services}).services) == ["db", "api", "web", "side"]
    assert sorted(sort_by_need(parse_model({"services": circle}).services)) == ["a", "b"]


STORE = {"volumes": [{"type": "volume", "source": "store"}]}
PORT = {"ports": [{"target": 80, "published": "8080"}]}
ADDRESS = {"networks": {"inner": {"ipv4_address": "10.0.0.2"}}}
ABOVE, BELOW = ({"volumes": [{"type": "bind", "source": f"/srv/apps/shop/{name}"}]} for name in ("data", "data/pg"))


@pytest.mark.parametrize(
    ("before", "after", "strategy", "displaced"),
    [
        ({"web": STORE}, {"front": STORE}, None, {"web": "volume store"}),
        ({"web": STORE, "front": {}}, {"web": {}, "front": STORE}, None, {"web": "volume store"}),
        ({"web": STORE}, {"web": STORE, "front": STORE}, None, {}),
        ({"web": STORE}, {"front": STORE}, "rolling", {}),
        ({"web": PORT}, {"front": PORT}, "rolling", {"web": "host port 8080"}),
        ({"web": PORT}, {"front": {"ports": [{"target": 80, "published": "8081"}]}}, None, {}),
        ({"web": ADDRESS}, {"front": ADDRESS}, None, {"web": "address 10.0.0.2"}),
        ({"web": ABOVE}, {"front": BELOW}, None, {"web": "folder data"}),
        ({"web": BELOW}, {"front": {}}, None, {}),
    ],
)
def test_what_gives_something_up_to_another_service_stops_before_that_one_starts(
    before: dict[str, Any], after: dict[str, Any], strategy: str | None, displaced: dict[str, str]
) -> None:
    there = [other("a"), *([other("b", "front")] if "front" in before else [])]
    made = wanted(after, before=parse_model({"services": before}), extension=Extension(strategy=strategy))
    decision = next(item for item in decide(made, there) if item.service == "front")
    assert decision.displaces == displaced
    assert ("a" in [item.id for item in decision.first]) == bool(displaced)
    assert decide(made, [other("a", state="exited")])[0].first == ()


def test_a_volume_is_known_by_its_own_name() -> None:
    def model(key: str, volume: str) -> ComposeModel:
        services = {key: {"volumes": [{"type": "volume", "source": key}]}}
        return parse_model({"services": services, "volumes": {key: {"name": volume}}})

    for volume, expected in (("kept", {"web": "volume web"}), ("other", {})):
        made = replace(wanted({"front": {}}, before=model("web", "kept")), model=model("front", volume))
        assert decide(made, [other("a")])[0].displaces == expected
