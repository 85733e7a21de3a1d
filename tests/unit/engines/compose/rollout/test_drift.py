"""Subnets that a compose file chooses: which of them another network has."""

from __future__ import annotations

from typing import Any

import pytest

from ikoma.compose.model import parse_model
from ikoma.engines.compose.rollout.drift import find_overlaps, name_lasting
from ikoma.engines.docker.containers import NetworkInfo, ResourceInventory
from ikoma.model import AppName

APP = AppName("shop")


def found(network: dict[str, Any], **taken: str) -> list[str]:
    networks = {name.replace("_at_", "-at-"): NetworkInfo("", "bridge", subnets=(it,)) for name, it in taken.items()}
    model = parse_model({"services": {}, "networks": {"n": network}})
    return [found.name for found in find_overlaps(APP, model, ResourceInventory(networks=networks))]


def with_subnets(*subnets: str) -> dict[str, Any]:
    return {"name": "shop_n", "ipam": {"config": [{"subnet": subnet} for subnet in subnets]}}


@pytest.mark.parametrize(
    ("chosen", "taken", "names"),
    [
        (["172.28.0.0/16"], {"other": "172.28.5.0/24"}, ["other"]),
        (["172.28.5.0/24"], {"other": "172.28.0.0/16"}, ["other"]),
        (["172.28.0.0/16"], {"other": "172.29.0.0/16"}, []),
        (["fd00:1::/64"], {"other": "fd00:1::/48"}, ["other"]),
        (["fd00:1::/64"], {"other": "172.28.0.0/16"}, []),
        (["nonsense"], {"other": "172.28.0.0/16"}, []),
        ([], {"other": "172.28.0.0/16"}, []),
    ],
)
def test_a_subnet_that_another_network_has_is_found(chosen: list[str], taken: dict[str, str], names: list[str]) -> None:
    assert found(with_subnets(*chosen), **taken) == names


def test_a_network_that_is_there_already_has_its_own_subnet() -> None:
    network = with_subnets("172.28.0.0/16")
    name = name_lasting(APP, "n", network)
    assert name is not None
    assert found(network, **{name.replace("-at-", "_at_"): "172.28.0.0/16"}) == []
    assert found(network, shop_n="172.28.0.0/16") == []
    assert found({**network, "name": "elsewhere", "external": True}, other="172.28.0.0/16") == []
