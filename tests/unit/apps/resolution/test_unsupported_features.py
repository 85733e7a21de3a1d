from __future__ import annotations

from typing import Any

import pytest

from ikoma.apps.resolution.unsupported_features import find_unsupported
from ikoma.compose.model import parse_model


@pytest.mark.parametrize(
    "service",
    [
        {"configs": [{"source": "a", "uid": "nobody", "target": "/a"}]},
        {"secrets": [{"source": "a", "gid": "99999999999"}]},
        {"configs": [{"source": "a", "target": "/"}]},
        {"volumes": [{"type": "volume", "source": "d", "target": "data"}]},
        {"volumes": [{"type": "bind", "source": "/shop/data", "target": "/"}]},
        {"volumes": [{"type": "volume", "target": "d:/data"}]},
        {"restart": "sometimes"},
        {"restart": "on-failure:often"},
        {"network_mode": "service:a", "pid": "service:b"},
        {"post_start": [{"command": ["chown", "-R", "app", "/data"]}]},
        {"pre_stop": [{"command": "sync"}], "post_start": []},
    ],
)
def test_what_no_container_can_be_made_of_is_found(service: dict[str, Any]) -> None:
    assert len(list(find_unsupported(parse_model({"services": {"web": service}})))) == 1


def test_what_can_be_is_not_found() -> None:
    service = {
        "configs": [{"source": "a", "uid": "1000", "target": "/a"}, {"source": "b", "target": "b"}],
        "volumes": [{"type": "volume", "source": "d", "target": "/data"}],
        "network_mode": "service:a",
        "pid": "service:a",
    }
    for restart in (None, "no", "always", "unless-stopped", "on-failure", "on-failure:3"):
        assert list(find_unsupported(parse_model({"services": {"web": service | {"restart": restart}}}))) == []


def test_a_volume_of_one_letter_is_told_from_a_path() -> None:
    [found] = find_unsupported(
        parse_model({"services": {"web": {"volumes": [{"type": "volume", "target": "d:/data"}]}}})
    )
    assert found.fix.startswith("Give the volume d a longer name")


@pytest.mark.parametrize(
    "service", [{"network_mode": "none"}, {"network_mode": "service:side"}, {"scale": 0}, {"deploy": {"replicas": 0}}]
)
def test_what_answers_requests_needs_an_address_and_a_container(service: dict[str, Any]) -> None:
    services = {"web": service, "side": {}}
    [found] = find_unsupported(parse_model({"services": services, "x-ikoma": {"service": "web", "port": 3000}}))
    assert found.problem.startswith("web answers the app's requests, and ")
    assert (
        list(find_unsupported(parse_model({"services": services, "x-ikoma": {"service": "side", "port": 3000}}))) == []
    )
    assert list(find_unsupported(parse_model({"services": services}))) == []
