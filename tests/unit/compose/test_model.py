"""The model of a resolved compose file: what is read of it, and what is not said."""

from __future__ import annotations

from typing import Any

import pytest

from ikoma.compose.model import EMPTY, Build, Mount, Port, Service, parse_model, parse_service
from ikoma.errors import InvalidCompose


def service(**described: Any) -> Service:
    return parse_service("web", described)


def test_a_service_that_says_nothing_has_a_value_for_each_attribute() -> None:
    found = service()
    assert (found.image, found.container_name, found.network_mode, found.user) == ("", "", "", "")
    assert (found.mounts, found.ports, found.networks, found.depends_on) == ((), (), {}, {})
    assert (found.build, found.shares_with, found.restart, found.scale) == (None, None, None, 1)
    assert (found.healthcheck.is_on, found.has_address, found.privileged) == (False, True, False)
    assert parse_model({"services": {"web": None}}).services["web"].raw == {}


def test_mounts_have_a_kind_a_source_and_say_whether_they_are_only_read() -> None:
    bind = {"type": "bind", "source": "/srv/apps/shop/data", "target": "/data"}
    anonymous = {"type": "volume", "target": "/store", "read_only": True}
    found = service(volumes=[bind, anonymous])
    assert found.mounts == (
        Mount("bind", "/srv/apps/shop/data", "/data", False, bind),
        Mount("volume", "", "/store", True, anonymous),
    )
    assert found.binds == [found.mounts[0]]


@pytest.mark.parametrize(
    ("given", "chosen"),
    [({"published": "8080"}, True), ({"published": "0"}, False), ({"published": ""}, False), ({}, False)],
)
def test_a_port_is_text_and_of_tcp_unless_it_says_otherwise(given: dict[str, Any], chosen: bool) -> None:
    [found] = service(ports=[{"target": 80, **given}]).ports
    assert found == Port("80", given.get("published", ""), "tcp", "", {"target": 80, **given})
    assert found.is_chosen is chosen


def test_a_build_has_its_dockerfile_as_a_file_or_as_text() -> None:
    raw = {"context": "/a", "args": {"A": "1"}, "additional_contexts": {"b": "/b"}, "target": "run"}
    assert service(build=raw).build == Build("/a", "Dockerfile", None, "run", {"A": "1"}, {"b": "/b"}, raw)
    inline = service(build={"context": "/a", "dockerfile_inline": ""}).build
    assert inline is not None
    assert inline.inline == ""


@pytest.mark.parametrize(
    ("check", "text", "is_on"),
    [
        ({"test": ["CMD", "curl", "-f", "x"]}, "CMD curl -f x", True),
        ({"test": ["NONE"]}, "NONE", False),
        ({"test": ["CMD", "true"], "disable": True}, "CMD true", False),
        ({"interval": "5s"}, "", False),
    ],
)
def test_a_healthcheck_is_on_where_it_asks_something(check: dict[str, Any], text: str, is_on: bool) -> None:
    found = service(healthcheck=check).healthcheck
    assert (found.text, found.is_on) == (text, is_on)


@pytest.mark.parametrize(
    ("described", "restart"),
    [
        ({"restart": "on-failure:3"}, "on-failure"),
        ({"restart": False}, "no"),
        ({"restart": ""}, None),
        ({"restart": "always", "deploy": {"restart_policy": {"condition": "none"}}}, "no"),
        ({"restart": "no", "deploy": {"restart_policy": {}}}, "always"),
    ],
)
def test_the_restart_policy_of_deploy_wins(described: dict[str, Any], restart: str | None) -> None:
    assert service(**described).restart == restart


@pytest.mark.parametrize(
    ("described", "scale"),
    [({"scale": 2}, 2), ({"deploy": {"replicas": 0}}, 0), ({"scale": 0}, 0), ({"deploy": {}}, 1)],
)
def test_the_number_of_containers_is_that_of_scale_or_of_replicas(described: dict[str, Any], scale: int) -> None:
    assert service(**described).scale == scale


@pytest.mark.parametrize("key", ["network_mode", "ipc", "pid"])
def test_a_service_runs_in_the_namespace_of_another_where_it_says_so(key: str) -> None:
    assert service(**{key: "service:db"}).shares_with == "db"
    assert service(**{key: "host"}).shares_with is None


def test_services_wait_for_others_and_take_mounts_from_others() -> None:
    needs = {"db": {"condition": "service_healthy"}, "job": {"condition": "service_completed_successfully"}, "c": {}}
    web = {"depends_on": needs, "volumes_from": ["db:ro", "job", "container:other"]}
    model = parse_model({"services": {"web": web, "db": {}, "job": {}, "c": {}}})
    assert model.services["web"].depends_on["c"] == "service_started"
    assert model.services["web"].mounts_from == {"db": False, "job": True}
    assert (model.one_shot, model.needed_healthy) == ({"job"}, {"db"})


def test_a_command_is_words_however_it_is_written() -> None:
    assert service(command=["psql", "-c", "select 1"]).command == ("psql", "-c", "select 1")
    assert service(command="psql -f x").command == ("psql", "-f", "x")


def test_what_a_service_is_given_is_found_by_its_source() -> None:
    model = parse_model({"services": {"web": {"configs": [{"source": "a"}]}}, "configs": {"a": {"content": "x"}}})
    [given] = model.services["web"].configs
    assert model.find_content("configs", given) == {"content": "x"}
    assert model.find_content("secrets", given) == {}


def test_a_changed_model_is_another_one_and_the_first_stays_as_it_is() -> None:
    raw = {"name": "shop", "services": {"web": {"image": "a"}, "db": {"image": "b"}}, "volumes": {"data": None}}
    model = parse_model(raw)
    assert model.replace_services({"web": {"image": "c"}}).services["web"].image == "c"
    assert list(model.drop_services({"web"}).services) == ["db"]
    assert model.replace_block({"port": 80}).drop_block().raw == model.raw == raw
    assert model.top == {"name": "shop", "volumes": {"data": None}}
    copied = model.copy_raw()
    copied["services"]["web"]["image"] = "d"
    assert model.services["web"].raw == {"image": "a"}


@pytest.mark.parametrize("block", ["text", ["port"], {"prot": 80}])
def test_a_wrong_block_is_refused_when_it_is_read_and_not_before(block: Any) -> None:
    model = parse_model({"services": {"web": {}}, "x-ikoma": block})
    with pytest.raises(InvalidCompose):
        _ = model.x_ikoma
    assert model.said == (block if isinstance(block, dict) else {})
    assert EMPTY.services == EMPTY.said == {}
